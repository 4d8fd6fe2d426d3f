"""Training images by a share or a list of labels."""

import numpy as np
import pytest

from tfclust import data


def source(labels, *, seed=0, names=None):
    random = np.random.default_rng(seed)
    images = random.integers(0, 255, [len(labels), 4, 4, 3]).astype(np.uint8)
    return data.ArraySource(images, labels, class_names=names)


def test_a_share_is_drawn_class_by_class_and_repeats_by_seed():
    labels = np.repeat([0, 1, 2, -1], [100, 40, 3, 20])
    whole = source(labels)
    some = data.stratified(whole, 0.1, seed=3)
    # 3 * 0.1 rounds to none, and every class keeps one.
    assert np.bincount(some.labels).tolist() == [10, 4, 1]
    names = some.manifest().names
    assert names == data.stratified(whole, 0.1, seed=3).manifest().names
    assert names != data.stratified(whole, 0.1, seed=4).manifest().names
    assert whole.num_shared(some) == 15


def test_a_list_that_was_written_gives_the_same_images(tmp_path):
    whole, path = source(np.arange(40) % 4), tmp_path / "some.txt"
    some = data.stratified(whole, 0.3, seed=0)
    data.write_list(some, path)
    again = data.listed(whole, path)
    assert again.manifest_hash == some.manifest_hash
    data.write_list(some, path)  # the same again
    with pytest.raises(ValueError, match="which names others"):
        data.write_list(data.stratified(whole, 0.3, seed=1), path)


def test_lists_of_last_names_are_read_as_simclrs(tmp_path):
    import tensorflow as tf

    for place, name in enumerate(("a/n1_1.png", "b/n2_1.png", "b/x.png")):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        image = np.full([4, 4, 3], 80 * place, np.uint8)
        tf.io.write_file(f"{tmp_path}/images/{name}", tf.io.encode_png(image))
    whole = data.open_source(f"folder:{tmp_path}/images")
    (tmp_path / "list").write_text("n2_1.png\n\nn1_1\n")
    some = data.listed(whole, tmp_path / "list")
    assert some.manifest().names == ["a/n1_1.png", "b/n2_1.png"]


@pytest.mark.parametrize(
    ("words", "told"),
    [("", "0 of 0 names"), ("gone.png\n", "1 of 1 names"), (None, "No such")],
)
def test_lists_that_name_no_image_are_refused(tmp_path, words, told):
    path = tmp_path / "list"
    if words is not None:
        path.write_text(words)
    with pytest.raises((ValueError, OSError), match=told):
        data.listed(source(np.arange(4)), path)


def test_a_share_of_unlabelled_images_is_refused():
    bare = data.ArraySource(np.zeros([3, 4, 4, 3], np.uint8))
    with pytest.raises(ValueError, match="label_share needs labelled"):
        data.stratified(bare, 0.5, seed=0)
