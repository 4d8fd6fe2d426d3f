"""Sources: URIs, the same images in two of them, parts of one."""

import shutil

import numpy as np
import pytest

from tests.support.image_files import picture, pixels, write, write_shards
from tfclust import data
from tfclust.data.sources.parts import imbalance_shares, with_class_shares

# URIs.


@pytest.mark.parametrize(
    "uri, words",
    [
        ("digits:?split=valid", "train, test, all.*split=valid"),
        ("digits:?fold=1", "only a split"),
        ("digits:?split=train&split=test", "a split, once"),
        ("digits:?split=", "splits train, test, all"),
        ("digits:?split", "splits train, test, all"),
        ("digits", "or a URI such as"),
        ("ftp:/images", "folder:/path"),
        ("folder:", "names no path"),
        ("", "or a URI"),
    ],
)
def test_uris_that_name_no_source_are_refused(uri, words):
    with pytest.raises(ValueError, match=words):
        data.open_source(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "folder:~nobody-here/images",
        "tfrecord:~nobody-here/*.tfrecord",
        "npz:~nobody-here/a.npz?images=x",
        "tfrecord_stream:~nobody-here/*.tfrecord",
        "tfds:mnist?data_dir=~nobody-here/tfds",
    ],
)
def test_the_home_of_nobody_is_refused(uri):
    with pytest.raises(ValueError, match="nobody-here.*no such user"):
        data.open_source(uri)


def test_max_images_below_one_is_refused():
    with pytest.raises(ValueError, match="max_images=0"):
        data.open_source("digits:", max_images=0)


# The same images in two sources.


def test_files_are_told_the_same_by_whatever_path_they_are_reached(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        write(tmp_path / "all", name)
    (tmp_path / "link").symlink_to(tmp_path / "all" / "a")
    whole = data.open_source(f"folder:{tmp_path / 'all'}")
    for part in ("all/a", "all/../link", "link"):
        some = data.open_source(f"folder:{tmp_path / part}")
        assert (whole.num_shared(some), some.num_shared(whole)) == (2, 2)
    other = data.open_source(f"folder:{tmp_path / 'all' / 'b'}")
    assert other.num_shared(some) == 0


def test_a_copy_of_a_folder_is_told_the_same(tmp_path):
    write(tmp_path / "one", "1.png")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = (
        data.open_source(f"folder:{tmp_path / n}") for n in ("one", "two")
    )
    assert one.num_shared(two) == 1


def test_records_of_one_file_are_told_the_same(tmp_path):
    write_shards(tmp_path, [3, 4])
    whole = data.open_source(f"tfrecord:{tmp_path}/*.tfrecord")
    first, *others = sorted(tmp_path.glob("*.tfrecord"))
    some = data.open_source(f"tfrecord:{first}", max_images=2)
    assert whole.num_shared(some) == 2
    rest = data.open_source(f"tfrecord:{others[0]}")
    assert (rest.num_shared(some), rest.num_shared(whole)) == (0, 4)


def test_arrays_are_told_the_same_by_their_pixels():
    images = [picture() for _ in range(5)]
    one, other = data.ArraySource(images[:3]), data.ArraySource(images[2:])
    assert one.num_shared(other) == 1
    assert one.num_shared(data.ArraySource(images[3:])) == 0


def test_held_out_images_are_every_fifth_and_no_other():
    source = data.open_source("digits:", max_images=23)
    train, test = data.held_out(source)
    assert (train.num_images, test.num_images) == (18, 5)
    np.testing.assert_array_equal(test.labels, source.labels[::5])
    assert train.num_shared(test) == 0
    assert source.num_shared(train) == 18


@pytest.mark.parametrize(
    "uri", ["folder:/nowhere", "tfrecord:/nowhere", "digits:?split=x", "x"]
)
def test_what_is_refused_is_named_as_it_was_given(uri):
    with pytest.raises((ValueError, OSError)) as error:
        data.open_source(uri, argument="test_data")
    assert "test_data" in str(error.value)
    assert "data=" not in str(error.value).replace("test_data=", "")


def test_class_shares_keep_the_first_images_of_each_class():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2], [10, 4, 6]))
    images = rng.integers(0, 256, (20, 4, 5, 3), np.uint8)
    source = data.ArraySource(images, labels, class_names=["a", "b", "c"])
    uneven = with_class_shares(source, (1.0, 0.5, 0.0))
    kept = [
        row
        for row, label in enumerate(labels)
        if label == 0 or (label == 1 and list(labels[:row]).count(1) < 2)
    ]
    np.testing.assert_array_equal(pixels(uneven), images[kept])
    np.testing.assert_array_equal(uneven.labels, labels[kept])
    assert uneven.class_names == ("a", "b", "c")
    assert uneven.manifest_hash != source.manifest_hash
    assert with_class_shares(source, (1, 1, 1)).num_images == 20


@pytest.mark.parametrize(
    ("kind", "counts"),
    [("light", [10] * 9 + [5]), ("heavy", [9, 8, 7, 6, 5, 4, 3, 2, 1])],
)
def test_imbalance_keeps_selas_share_of_each_class(kind, counts):
    images = np.zeros([100, 4, 4, 3], np.uint8)
    source = data.ArraySource(images, np.arange(100) % 10)
    uneven = with_class_shares(source, imbalance_shares(source, kind))
    assert np.bincount(uneven.labels).tolist() == counts


def test_imbalance_without_labels_is_refused():
    bare = data.ArraySource(np.zeros([3, 4, 4, 3], np.uint8))
    with pytest.raises(ValueError, match="imbalance needs labels"):
        imbalance_shares(bare, "light")


def test_class_shares_are_of_the_images_that_max_images_leaves():
    shares = (1.0,) * 9 + (0.5,)
    whole = data.open_source("digits:?split=train", max_images=500)
    light = data.open_source(
        "digits:?split=train", max_images=500, class_shares=shares
    )
    before, after = np.bincount(whole.labels), np.bincount(light.labels)
    np.testing.assert_array_equal(after[:9], before[:9])
    assert after[9] == round(before[9] / 2)


def test_class_shares_keep_what_was_told_of_the_images(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        write(tmp_path, name)
    (tmp_path / "b" / "2.png").write_bytes(b"")
    source = data.open_source(
        f"folder:{tmp_path}", class_shares=(0.5, 1.0), max_bad_share=0.5
    )
    assert source.num_images == 2
    assert [name for name, _ in source.skipped] == ["b/2.png"]


@pytest.mark.parametrize(
    ("labels", "shares", "words"),
    [
        (None, (1.0, 0.5), "without labels"),
        ([0, 1, 1], (1.0,), "one number per class, 2 for"),
        ([-1, 1, 1], (1.0,), "one number per class, 2 for"),
        ([0, 1, 1], (0.0, 0.1), "must leave an image"),
    ],
)
def test_class_shares_that_do_not_suit_are_refused(labels, shares, words):
    images = np.zeros((3, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=words):
        with_class_shares(data.ArraySource(images, labels), shares)
