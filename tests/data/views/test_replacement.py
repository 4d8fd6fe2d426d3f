"""Images that can no longer be read are replaced, always by the same ones."""

import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.support.image_files import encoded, example, write_records
from tests.support.marks import slow
from tfclust import data
from tfclust.data.views import sampling
from tfclust.evaluation import extract_features, pixels, sgd_probe
from tfclust.evaluation.probes.recipe import ProbeConfig
from tfclust.evaluation.probes.testing import FeatureTest

COUNT = 24
GONE = 5


def colour(i):
    """Images are told by their colour, whatever the crop."""
    return np.array([10 * i, 255 - 10 * i, 40], np.uint8)


def write_folder(folder, one_size):
    folder.mkdir()
    for i in range(COUNT):
        size = (40, 44) if one_size else (40 + i, 44)
        image = np.tile(colour(i), (*size, 1))
        Image.fromarray(image).save(folder / f"{i:02d}.png")
    return data.open_source(f"folder:{folder}")


def views_of(source):
    return data.Views(
        source,
        batch_size=8,
        view_sizes=(16,),
        num_views=(2,),
        augmentation="none",
        seed=3,
    )


def read(views, **where):
    """Indices and views of an epoch."""
    batches = list(views.batches(epoch=0, **where))
    index = np.concatenate([b["index"] for b in batches])
    return index, np.concatenate([b["views"][0] for b in batches])


BY_IMAGE, IN_MEMORY = False, True  # of sizes of their own, or of one
KINDS = ["by image", "kept in memory"]
FOR_BOTH = pytest.mark.parametrize(
    "failing", [slow(BY_IMAGE), IN_MEMORY], indirect=True, ids=KINDS
)


@pytest.fixture(params=[BY_IMAGE, IN_MEMORY], ids=KINDS)
def failing(request, tmp_path):
    """A folder's source, one of whose images has vanished; and that before."""
    whole = write_folder(tmp_path / "set", request.param)
    before = read(views_of(whole))
    source = data.open_source(f"folder:{tmp_path / 'set'}")
    (tmp_path / "set" / f"{GONE:02d}.png").unlink()
    return source, before


def test_a_vanished_image_is_replaced_and_listed(failing):
    source, (index, views) = failing
    found, seen = read(views_of(source))
    (row,) = np.flatnonzero(index == GONE)
    assert found[row] != GONE
    others = np.arange(COUNT) != row
    np.testing.assert_array_equal(found[others], index[others])
    np.testing.assert_array_equal(seen[others], views[others])
    for i, crops in zip(found, seen, strict=True):
        assert (crops == colour(i)).all()
    assert source.failures == {f"{GONE:02d}.png": "No such file or directory"}


@pytest.mark.slow
@FOR_BOTH
def test_replacements_depend_on_seed_step_and_row_alone(failing):
    source, _ = failing
    index, views = read(views_of(source))
    again, seen = read(views_of(source), start_step=0, order=None)
    np.testing.assert_array_equal(again, index)
    np.testing.assert_array_equal(seen, views)
    later, seen = read(views_of(source), start_step=1)
    np.testing.assert_array_equal(later, index[8:])
    np.testing.assert_array_equal(seen, views[8:])
    parts = [read(views_of(source), num_shards=2, shard=i)[0] for i in (0, 1)]
    together = np.stack([p.reshape(3, 4) for p in parts], axis=1).ravel()
    np.testing.assert_array_equal(together, index)


@FOR_BOTH
def test_a_pass_over_all_keeps_the_index_of_a_vanished_image(failing):
    source, _ = failing
    views = views_of(source)
    for kind in ("train", "eval"):
        batches = list(views.extraction_batches(kind))
        index = np.concatenate([b["index"] for b in batches])
        np.testing.assert_array_equal(index, np.arange(COUNT))


def test_a_changed_image_is_replaced_and_a_touched_one_is_not(tmp_path):
    source = write_folder(tmp_path / "set", one_size=False)
    os.utime(tmp_path / "set/03.png", ns=(1, 1))
    (tmp_path / "set/04.png").write_bytes(b"no image now")
    Image.new("RGB", (9, 9)).save(tmp_path / "set/05.png")
    index, _ = read(views_of(source))
    assert 3 in index and not {4, 5} & set(index.tolist())
    reason = "changed since the check"
    assert source.failures == {"04.png": reason, "05.png": reason}


def test_records_of_a_file_that_is_gone_are_replaced(tmp_path):
    for shard in range(2):
        images = [
            encoded(np.full((30 + i, 40, 3), i, np.uint8)) for i in range(12)
        ]
        write_records(tmp_path / f"{shard}.tfrecord", map(example, images))
    source = data.open_source(f"tfrecord:{tmp_path}/*.tfrecord")
    (tmp_path / "1.tfrecord").unlink()
    index, _ = read(views_of(source))
    assert len(index) == COUNT and index.max() < 12
    assert len(source.failures) == 12


def test_a_part_of_a_source_replaces_within_itself(tmp_path):
    source = write_folder(tmp_path / "set", one_size=False)
    part = data.Sample(source, np.arange(0, COUNT, 2))
    told = []
    part.when_failing(lambda *failure: told.append(failure))
    (tmp_path / "set/04.png").unlink()
    views = data.Views(part, batch_size=4, view_sizes=(16,), num_views=(1,))
    index, _ = read(views)
    assert set(index.tolist()) <= set(range(12)) - {2}
    assert told == [("04.png", "No such file or directory")]
    assert part.failures == source.failures


@pytest.mark.parametrize("one_size", [False, True])
def test_a_disk_that_is_gone_is_reported_in_a_sentence(tmp_path, one_size):
    source = write_folder(tmp_path / "set", one_size)
    for path in (tmp_path / "set").iterdir():
        path.unlink()
    told = r"set: \d\d.png cannot .*No such file.*Is the disk still there\?$"
    lost = pytest.raises(OSError, match=told)
    with lost as caught, data.telling_lost_images():
        read(views_of(source))
    assert "Traceback" not in str(caught.value)


def test_figures_of_images_that_are_gone_are_an_error(tmp_path):
    source = write_folder(tmp_path / "set", one_size=False)
    source.labels = np.arange(COUNT) % 2
    features = extract_features(pixels, source, image_size=8)
    for path in (tmp_path / "set").iterdir():
        path.unlink()
    with pytest.raises(OSError, match="Is the disk still there"):
        extract_features(pixels, source, image_size=8)
    with pytest.raises(OSError, match="Is the disk still there"):
        sgd_probe(
            lambda images: {"last": pixels(images)},
            source,
            FeatureTest("last", features, source.labels),
            ProbeConfig(),
            image_size=8,
        )


def test_other_errors_of_tensorflow_pass_as_they_are():
    with (
        pytest.raises(tf.errors.InvalidArgumentError),
        data.telling_lost_images(),
    ):
        tf.debugging.assert_equal(tf.constant(1), tf.constant(2))


def test_replacements_of_a_part_of_a_batch_are_those_of_the_whole():
    def drawn(first, num):
        return sampling.replacements(
            sampling.key_of(7, "views"),
            tf.constant(11, tf.int64),
            tf.constant(first, tf.int64),
            num_rows=num,
            num_images=1000,
        ).numpy()

    whole = drawn(0, 12)
    np.testing.assert_array_equal(drawn(4, 8), whole[4:])
    assert whole.shape == (12, sampling.NUM_REPLACEMENTS)
    assert whole.min() >= 0 and whole.max() < 1000
    assert len(np.unique(whole)) > 150  # 192 draws of 1,000
