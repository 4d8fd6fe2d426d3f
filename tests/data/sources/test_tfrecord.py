"""TFRecord files: in any order, damaged, packed or no images at all."""

import gzip
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.support.image_files import (
    encoded,
    example,
    picture,
    pixels,
    write_records,
    write_shards,
)
from tfclust import data
from tfclust.data.sources import tfrecord


def test_records_are_read_in_any_order(tmp_path):
    images = write_shards(tmp_path, [3, 4])
    source = data.open_source(f"tfrecord:{tmp_path}/train-*")
    assert source.num_images == 7
    assert source.labels.tolist() == [7, 8, 9, 7, 8, 9, 10]
    order = [6, 0, 3, 3, 5]
    found = tf.data.Dataset.from_tensor_slices(np.int64(order))
    for i, image in zip(order, found.map(source.image), strict=True):
        np.testing.assert_array_equal(image, images[i])
    assert source.manifest().names[3].startswith("train-1.tfrecord@")


def test_records_without_labels_have_none(tmp_path):
    write_shards(tmp_path, [3], labelled=False)
    assert data.open_source(f"tfrecord:{tmp_path}/*").labels is None


def test_max_images_takes_the_first_records(tmp_path):
    images = write_shards(tmp_path, [3, 4, 2])
    source = data.open_source(f"tfrecord:{tmp_path}/*.tfrecord", max_images=5)
    found = pixels(source)
    assert len(found) == 5
    np.testing.assert_array_equal(found[4], images[4])


def test_empty_shards_among_others_are_passed_over(tmp_path):
    images = write_shards(tmp_path, [0, 2, 0, 3])
    assert (tmp_path / "train-2.tfrecord").stat().st_size == 0
    for _ in range(2):  # the second time from the index
        source = data.open_source(f"tfrecord:{tmp_path}/train-*")
        assert len(pixels(source)) == 5
        np.testing.assert_array_equal(pixels(source)[2], images[2])


def test_labels_on_a_part_of_the_records_are_left_out_and_told(tmp_path):
    records = [example(encoded(picture()), i) for i in range(3)]
    records.append(example(encoded(picture())))
    write_records(tmp_path / "a.tfrecord", records)
    source = data.open_source(f"tfrecord:{tmp_path}/a.tfrecord")
    assert source.labels is None
    assert source.notices == [
        "1 of 4 records have no label: figures by label are left out"
    ]
    whole = data.open_source(f"tfrecord:{tmp_path}/a.tfrecord", max_images=3)
    assert whole.labels.tolist() == [0, 1, 2] and not whole.notices


def test_damaged_records_are_left_out(tmp_path):
    good = [example(encoded(picture()), 1) for _ in range(12)]
    write_records(tmp_path / "a.tfrecord", [*good, example(b"junk", 1)])
    source = data.open_source(
        f"tfrecord:{tmp_path}/a.tfrecord", max_bad_share=0.1
    )
    assert source.num_images == 12
    ((name, reason),) = source.skipped
    assert name.startswith("a.tfrecord@") and reason.startswith("not a")


def test_files_that_are_no_image_records_are_refused(tmp_path):
    def opening(name):
        return data.open_source(f"tfrecord:{tmp_path}/{name}")

    with pytest.raises(FileNotFoundError, match="Found 0 files"):
        opening("absent-*")
    write_shards(tmp_path, [3])
    whole = (tmp_path / "train-0.tfrecord").read_bytes()
    (tmp_path / "short").write_bytes(whole[:-20])
    with pytest.raises(ValueError, match="record 2 reaches beyond the end"):
        opening("short")
    (tmp_path / "packed").write_bytes(gzip.compress(whole)[:-20])
    with pytest.raises(ValueError, match="packed is a damaged or truncated gz"):
        opening("packed")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ValueError, match="empty is an empty file.$"):
        opening("empty")
    (tmp_path / "empty-2").write_bytes(b"")
    with pytest.raises(ValueError, match="empty file, as are all 2"):
        opening("empty*")
    write_records(tmp_path / "other", [example(b"x", key="picture")])
    with pytest.raises(ValueError, match=r"filename \(bytes\), picture"):
        opening("other")
    write_records(tmp_path / "text", [b"no example"])
    with pytest.raises(ValueError, match="not a tf.train.Example"):
        opening("text")


def test_a_long_file_without_images_is_refused_before_its_end(tmp_path):
    """And one whose images come late is not."""
    none = [example(b"x", key="picture")] * 255
    some = [example(encoded(picture()), 1)]
    write_records(tmp_path / "late", none + some)
    source = data.open_source(f"tfrecord:{tmp_path}/late", max_bad_share=1.0)
    assert source.num_images == 1 and len(source.skipped) == 255
    write_records(tmp_path / "later", [*none, none[0], *some])
    with pytest.raises(ValueError, match=r"picture \(bytes\)"):
        data.open_source(f"tfrecord:{tmp_path}/later", max_bad_share=1.0)
    with pytest.raises(ValueError, match=r"picture \(bytes\)"):
        data.open_source(f"tfrecord_stream:{tmp_path}/later?window=300")


def test_records_packed_by_gzip_are_unpacked_once(tmp_path, monkeypatch):
    images = write_shards(tmp_path, [3, 4])
    for path in tmp_path.glob("*.tfrecord"):
        path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes()))
    uri, cache = f"tfrecord:{tmp_path}/*.gz", tmp_path / "cache"
    for _ in range(2):
        source = data.open_source(uri, cache_dir=cache)
        for image, expected in zip(pixels(source), images, strict=True):
            np.testing.assert_array_equal(image, expected)
        assert source.labels.tolist() == [7, 8, 9, 7, 8, 9, 10]
        monkeypatch.setattr(tfrecord, "_unpack", None)
    assert len(list(cache.glob("*.unpacked"))) == 2


def test_packed_records_that_change_are_unpacked_again(tmp_path):
    path = tmp_path / "a.gz"
    for count in (3, 5):
        images = write_shards(tmp_path, [count])
        whole = (tmp_path / "train-0.tfrecord").read_bytes()
        path.write_bytes(gzip.compress(whole))
        source = data.open_source(f"tfrecord:{path}")
        np.testing.assert_array_equal(pixels(source)[-1], images[-1])
        assert source.num_images == count


def test_packed_records_without_room_for_them_tell_the_way_out(
    tmp_path, monkeypatch
):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b""))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tfrecord, "_unpack", full)
    with pytest.raises(ValueError, match="No space left.*Give a cache_dir"):
        data.open_source(f"tfrecord:{path}")


def test_cifar_records_agree_with_tensorflows_reader(shared_data, tmp_path):
    path = tmp_path / "test.tfrecord"  # a copy: its index lies beside it
    shutil.copy(shared_data / "cifar10_test.tfrecord", path)
    source = data.open_source(f"tfrecord:{path}")
    assert source.num_images == 5000 and not source.skipped
    assert (np.bincount(source.labels) == 500).all()
    spec = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
    for i, record in tf.data.TFRecordDataset(str(path)).take(5).enumerate():
        image = tf.io.parse_single_example(record, spec)["image/encoded"]
        np.testing.assert_array_equal(
            source.image(i), tf.io.decode_jpeg(image, channels=3)
        )
    np.testing.assert_array_equal(
        source.stored()[4321, 1:-1, 1:-1], source.image(tf.constant(4321))
    )
