"""The check of the images: what is kept of it, and when it is repeated."""

import io
import os
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from tests.support.disk import full_disk
from tests.support.image_files import (
    encoded,
    example,
    picture,
    pixels,
    write,
    write_records,
    write_shards,
)
from tfclust import data
from tfclust.data.reading import examples, scan
from tfclust.data.sources import shards


def test_a_second_check_reads_only_files_that_changed(tmp_path, monkeypatch):
    images, cache = tmp_path / "images", tmp_path / "cache"
    for i in range(12):
        write(images, f"{i:02d}.png")
    first = data.open_source(f"folder:{images}", cache_dir=cache)
    write(images, "05.png", picture(31, 33))
    checked = []
    real = scan.check_images
    monkeypatch.setattr(
        scan,
        "check_images",
        lambda read, count, *a: checked.append(count) or real(read, count),
    )
    second = data.open_source(f"folder:{images}", cache_dir=cache)
    assert checked == [1]
    assert second.heights[5] == 31 and second.heights[4] == 20
    assert first.manifest_hash != second.manifest_hash


def test_a_file_that_could_not_be_opened_is_tried_again(tmp_path, monkeypatch):
    images, cache = tmp_path / "images", tmp_path / "cache"
    for i in range(12):
        write(images, f"{i:02d}.png")
    real = os.open

    def refused(path, *rest):
        if os.fspath(path).endswith("05.png"):
            raise PermissionError(13, "Permission denied")
        return real(path, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refused)
        source = data.open_source(
            f"folder:{images}", cache_dir=cache, max_bad_share=0.1
        )
    assert source.skipped == [("05.png", "Permission denied")]
    source = data.open_source(f"folder:{images}", cache_dir=cache)
    assert source.num_images == 12 and not source.skipped


def stopped_after(monkeypatch, module, blocks):
    """Interrupts the check after a number of blocks of 5 images."""
    monkeypatch.setattr(scan, "_BLOCK", 5)
    checked, real = [], module.check_images

    def check(read, count, tell=None):
        if len(checked) == blocks:
            raise KeyboardInterrupt
        checked.append(count)
        return real(read, count, tell)

    monkeypatch.setattr(module, "check_images", check)
    return checked


def test_an_interrupted_check_of_files_goes_on(tmp_path, monkeypatch):
    images, cache = tmp_path / "images", tmp_path / "cache"
    for i in range(23):
        write(images, f"{i:02d}.png")
    with monkeypatch.context() as patched:
        checked = stopped_after(patched, scan, 3)
        with pytest.raises(KeyboardInterrupt):
            data.open_source(f"folder:{images}", cache_dir=cache)
        assert checked == [5, 5, 5]
    checked = stopped_after(monkeypatch, scan, 9)
    source = data.open_source(f"folder:{images}", cache_dir=cache)
    assert checked == [5, 3] and source.num_images == 23


def test_an_interrupted_check_of_records_goes_on(tmp_path, monkeypatch):
    images = write_shards(tmp_path, [23])
    uri = f"tfrecord:{tmp_path}/train-0.tfrecord"
    with monkeypatch.context() as patched:
        stopped_after(patched, shards, 3)
        with pytest.raises(KeyboardInterrupt):
            data.open_source(uri)
    checked = stopped_after(monkeypatch, shards, 9)
    source = data.open_source(uri)
    assert checked == [5, 3]
    np.testing.assert_array_equal(pixels(source)[22], images[22])


def test_one_long_name_makes_no_wide_cache(tmp_path):
    images, cache = tmp_path / "images", tmp_path / "cache"
    picture = write(images, "0.png").read_bytes()
    for i in range(1, 300):
        (images / f"{i}.png").write_bytes(picture)
    (images / ("ü" * 120 + ".png")).write_bytes(picture)
    first = data.open_source(f"folder:{images}", cache_dir=cache)
    (kept,) = cache.glob("scan-*.npz")
    assert kept.stat().st_size < 300 * 100
    with mock.patch.object(scan, "check_images") as never:
        again = data.open_source(f"folder:{images}", cache_dir=cache)
    assert not never.called
    assert again.manifest_hash == first.manifest_hash


def test_a_full_disk_leaves_no_half_written_cache(tmp_path):
    with full_disk(100), pytest.raises(OSError, match="File too large"):
        scan.write_npz(tmp_path / "c" / "scan.npz", marks=np.zeros(1000))
    assert not list((tmp_path / "c").iterdir())


def test_what_an_older_check_kept_is_not_read(tmp_path, monkeypatch):
    write(tmp_path / "images", "a.png")
    uri, cache = f"folder:{tmp_path}/images", tmp_path / "cache"
    with monkeypatch.context() as patched:
        patched.setattr(scan, "VERSION", scan.VERSION - 1)
        data.open_source(uri, cache_dir=cache)
    checked = stopped_after(monkeypatch, scan, 9)
    data.open_source(uri, cache_dir=cache)
    data.open_source(uri, cache_dir=cache)
    assert checked == [1]


DAMAGE = {
    "empty": lambda whole: b"",
    "junk": lambda whole: b"junk",
    "half": lambda whole: whole[: len(whole) // 2],
    "other bytes": lambda whole: whole[:150] + b"?" * 20 + whole[170:],
    "another's": lambda whole: npz(other=np.zeros(3)),
    "an array": lambda whole: npy(np.zeros(3)),
}


def npz(**arrays):
    stored = io.BytesIO()
    np.savez(stored, **arrays)
    return stored.getvalue()


def npy(array):
    stored = io.BytesIO()
    np.save(stored, array)
    return stored.getvalue()


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cache_is_rebuilt(tmp_path, damage):
    images, cache = tmp_path / "images", tmp_path / "cache"
    write(images, "a.png")
    data.open_source(f"folder:{images}", cache_dir=cache)
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    assert data.open_source(f"folder:{images}", cache_dir=cache).num_images == 1
    assert scan._read_cache(kept)


def test_the_manifest_hash_is_another_where_pixels_are(tmp_path):
    """Of images of one size in bytes and pixels; also by a kept check."""
    dark, light = (np.full((8, 8, 3), v, np.uint8) for v in (10, 200))
    stored = {name: encoded(dark, "BMP") for name in ("a.bmp", "b.bmp")}
    stored["b.bmp"] = encoded(light, "BMP")
    assert len(set(map(len, stored.values()))) == 1

    def hashes(names):
        """Of a folder, and of records."""
        for name, content in zip(stored, names, strict=True):
            (tmp_path / "set").mkdir(exist_ok=True)
            (tmp_path / "set" / name).write_bytes(stored[content])
        records = [example(stored[content]) for content in names]
        write_records(tmp_path / "set.tfrecord", records)
        uris = (f"folder:{tmp_path}/set", f"tfrecord:{tmp_path}/set.tfrecord")
        return [
            data.open_source(uri, cache_dir=tmp_path / "cache").manifest_hash
            for uri in uris
        ]

    before = hashes(["a.bmp", "b.bmp"])
    after = hashes(["b.bmp", "a.bmp"])
    assert before[0] != after[0] and before[1] != after[1]
    assert hashes(["a.bmp", "b.bmp"]) == before


def test_the_manifest_hash_survives_a_move(tmp_path):
    for name in ("x/a.png", "y/b.png"):
        write(tmp_path / "here", name)
    before = data.open_source(f"folder:{tmp_path}/here").manifest_hash
    os.rename(tmp_path / "here", tmp_path / "there")
    assert data.open_source(f"folder:{tmp_path}/there").manifest_hash == before


def test_the_index_is_used_until_the_file_changes(tmp_path, monkeypatch):
    write_shards(tmp_path, [3])
    made = []
    real = shards._make_index
    monkeypatch.setattr(
        shards, "_make_index", lambda *a: made.append(a[0]) or real(*a)
    )
    for _ in range(2):
        # The index lies beside the file; the glob must not take it for data.
        source = data.open_source(f"tfrecord:{tmp_path}/train-*")
    assert len(made) == 1 and source.num_images == 3
    write_shards(tmp_path, [5])
    assert data.open_source(f"tfrecord:{tmp_path}/train-*").num_images == 5
    assert len(made) == 2


def test_the_index_goes_to_the_cache_where_the_folder_is_closed(
    tmp_path, monkeypatch
):
    write_shards(tmp_path, [3])
    real = scan.write_npz

    def closed(path, **arrays):
        if path.parent == tmp_path:
            raise PermissionError(13, "Permission denied")
        real(path, **arrays)

    monkeypatch.setattr(scan, "write_npz", closed)
    cache = tmp_path / "run"
    uri = f"tfrecord:{tmp_path}/train-0.tfrecord"
    assert data.open_source(uri, cache_dir=cache).num_images == 3
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(shards, "_make_index", None)
    assert data.open_source(uri, cache_dir=cache).num_images == 3


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_index_is_rebuilt(tmp_path, damage):
    write_shards(tmp_path, [3])
    uri = f"tfrecord:{tmp_path}/train-0.tfrecord"
    data.open_source(uri)
    kept = tmp_path / ".train-0.tfrecord.index.npz"
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    source = data.open_source(uri)
    assert source.num_images == 3 and source.labels.tolist() == [7, 8, 9]
    with np.load(kept) as stored:
        assert stored["labels"].tolist() == [7, 8, 9]


def test_an_index_serves_only_the_features_that_it_was_made_for(tmp_path):
    records = []
    for fine in range(4):
        ints = {
            "fine": tf.train.Int64List(value=[fine]),
            "coarse": tf.train.Int64List(value=[fine // 2]),
        }
        features = {k: tf.train.Feature(int64_list=v) for k, v in ints.items()}
        image = tf.train.BytesList(value=[encoded(picture())])
        features["image"] = tf.train.Feature(bytes_list=image)
        whole = tf.train.Features(feature=features)
        records.append(tf.train.Example(features=whole).SerializeToString())
    path = tmp_path / "a.tfrecord"
    write_records(path, records)
    for label, expected in (
        ("fine", [0, 1, 2, 3]),
        ("coarse", [0, 0, 1, 1]),
        ("fine", [0, 1, 2, 3]),
    ):
        index = shards.shard_index(
            str(path), keys=examples.Keys("image", label)
        )
        assert index.labels.tolist() == expected
