"""Sources: what is read, in which order, and what is refused."""

import gzip
import io
import os
import shutil
import sys
import threading
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.support.disk import full_disk
from tfclust import data
from tfclust.data.reading import checking, scan
from tfclust.data.sources import shards, tfrecord
from tfclust.data.sources.parts import with_class_shares

RNG = np.random.default_rng(0)


def picture(height=20, width=24):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def encoded(image, kind="PNG", **how):
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, kind, **how)
    return stored.getvalue()


def write(folder, name, image=None, kind="PNG"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(picture() if image is None else image, kind))
    return path


def pixels(source):
    """All images of a source, read in a pipeline."""
    indices = tf.data.Dataset.range(source.num_images)
    return [image.numpy() for image in indices.map(source.image)]


# Digits.


def test_digits_splits_part_the_1797_images_with_equal_shares():
    whole = data.open_source("digits:?split=all")
    train = data.open_source("digits:?split=train")
    test = data.open_source("digits:?split=test")
    assert whole.num_images == 1797
    assert (train.num_images, test.num_images) == (1433, 364)
    shares = np.bincount(test.labels) / np.bincount(whole.labels)
    assert shares.min() > 0.195 and shares.max() < 0.21
    train_rows = {image.tobytes() for image in pixels(train)}
    assert not train_rows & {image.tobytes() for image in pixels(test)}
    assert train.class_names == tuple("0123456789")


def test_digits_are_spread_over_all_grey_levels():
    images = np.array(pixels(data.open_source("digits:", max_images=50)))
    assert images.shape == (50, 8, 8, 3)
    assert images.min() == 0 and images.max() == 255


# Arrays.


def test_arrays_of_any_sizes_come_back_as_they_are():
    images = [picture(3 + i, 9 - i) for i in range(5)]
    source = data.ArraySource(images, labels=[4, 3, 2, 1, 0])
    for expected, found in zip(images, pixels(source), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert source.labels.dtype == np.int64
    assert source.stored() is None


def test_grey_arrays_become_rgb():
    grey = RNG.integers(0, 256, (4, 6, 5), np.uint8)
    found = np.array(pixels(data.ArraySource(grey)))
    np.testing.assert_array_equal(found, np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize(
    "images, labels, words",
    [
        (np.zeros((2, 4, 4, 3)), None, "uint8"),
        (np.zeros((2, 4, 4, 4), np.uint8), None, r"\[H, W, 3\]"),
        (np.zeros((2, 0, 4), np.uint8), None, "pixels"),
        ([], None, "0 images"),
        (np.zeros((2, 4, 4), np.uint8), [1], "for 2 images"),
        (np.zeros((2, 4, 4), np.uint8), [0.5, 1], "one integer"),
    ],
)
def test_arrays_that_are_no_images_are_refused(images, labels, words):
    with pytest.raises(ValueError, match=words):
        data.ArraySource(images, labels)


def test_images_of_one_size_are_stored_with_their_edge_doubled():
    images = RNG.integers(0, 256, (3, 4, 5, 3), np.uint8)
    stored = data.ArraySource(images).stored().numpy()
    assert stored.shape == (3, 6, 7, 3)
    np.testing.assert_array_equal(stored[:, 1:-1, 1:-1], images)
    np.testing.assert_array_equal(stored[:, 0, 1:-1], images[:, 0])
    np.testing.assert_array_equal(stored[:, 1:-1, -1], images[:, :, -1])


# Folders.


def test_sub_folders_are_labels_in_sorted_order(tmp_path):
    for name in (
        "zebra/a.png",
        "ant/deep/er/b.png",
        "ant/a.PNG",
        "zebra/Ü 1.png",
    ):
        write(tmp_path, name)
    source = data.open_source(f"folder:{tmp_path}")
    assert source.manifest().names == [
        "ant/a.PNG",
        "ant/deep/er/b.png",
        "zebra/a.png",
        "zebra/Ü 1.png",
    ]
    assert source.class_names == ("ant", "zebra")
    assert source.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "names", [["a.png", "b.png"], ["x/a.png", "b.png"], ["x/a.png"]]
)
def test_a_folder_without_two_classes_has_no_labels(tmp_path, names):
    for name in names:
        write(tmp_path, name)
    source = data.open_source(f"folder:{tmp_path}")
    assert source.num_images == len(names)
    assert source.labels is None and source.class_names is None


def test_files_that_are_hidden_or_no_images_by_name_are_passed_over(tmp_path):
    write(tmp_path, "a.png")
    write(tmp_path, ".hidden.png")
    write(tmp_path, ".cache/b.png")
    (tmp_path / "notes.txt").write_text("words")
    assert data.open_source(f"folder:{tmp_path}").num_images == 1


def test_relative_and_home_paths_are_found(tmp_path, monkeypatch):
    write(tmp_path, "bilder ä/a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.open_source("folder:bilder ä").num_images == 1
    assert data.open_source("folder:~/bilder ä").num_images == 1


def test_every_format_is_decoded_whatever_its_name(tmp_path):
    image = picture()
    grey = Image.fromarray(image).convert("L")
    kinds = {
        "a.png": Image.fromarray(image),
        "b.bmp": Image.fromarray(image),
        "c.gif": Image.fromarray(image),
        "d.png": grey,
        "e.png": Image.fromarray(image).convert("RGBA"),
        "f.png": Image.fromarray(image).convert("P"),
        "g.jpg": grey,
        "h.jpg": Image.fromarray(image).convert("CMYK"),
    }
    for name, view in kinds.items():
        view.save(tmp_path / name)
    (tmp_path / "i.jpg").write_bytes(encoded(image, "PNG"))
    (tmp_path / "j.jpg").write_bytes(encoded(image, "WEBP", lossless=True))
    source = data.open_source(f"folder:{tmp_path}")
    assert source.num_images == 10 and not source.skipped
    found = pixels(source)
    assert {view.shape for view in found} == {image.shape}
    for i in (0, 1, 4, 8, 9):
        np.testing.assert_array_equal(found[i], image)
    assert source.jpeg.tolist() == [False] * 6 + [True] * 2 + [False] * 2


def test_damaged_files_are_left_out_with_a_reason(tmp_path):
    for i in range(20):
        write(tmp_path, f"{i:02d}.jpg", kind="JPEG")
    whole = (tmp_path / "03.jpg").read_bytes()
    (tmp_path / "03.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "07.jpg").write_bytes(b"")
    source = data.open_source(f"folder:{tmp_path}", max_bad_share=0.1)
    assert source.num_images == 18
    assert source.skipped == [
        ("03.jpg", "a damaged or truncated JPEG"),
        ("07.jpg", "empty"),
    ]
    assert "03.jpg" not in source.manifest().names
    with pytest.raises(ValueError, match="2 of 20 images.*03.jpg: a damaged"):
        data.open_source(f"folder:{tmp_path}", max_bad_share=0.05)


def test_a_link_to_nothing_is_left_out_with_a_reason(tmp_path):
    for i in range(10):
        write(tmp_path, f"{i:02d}.png")
    (tmp_path / "dead.png").symlink_to(tmp_path / "absent.png")
    source = data.open_source(f"folder:{tmp_path}", max_bad_share=0.1)
    assert source.num_images == 10
    assert source.skipped == [("dead.png", "No such file or directory")]


def test_a_link_to_a_folder_above_multiplies_no_image(tmp_path):
    write(tmp_path, "set/a/0.png")
    write(tmp_path, "set/b/1.png")
    write(tmp_path, "elsewhere/2.png")
    (tmp_path / "set/a/up").symlink_to("..")
    (tmp_path / "set/b/self").symlink_to(".")
    (tmp_path / "set/c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "set")
    source = data.open_source(f"folder:{tmp_path}/set")
    assert source.manifest().names == ["a/0.png", "b/1.png", "c/2.png"]
    assert source.class_names == ("a", "b", "c")


def test_names_that_are_not_utf8_are_read_and_told_as_text(tmp_path):
    images, cache = tmp_path / "images", tmp_path / "cache"
    image = picture()
    for name in (b"ant\xe9/a\xff.png", b"bee/b.png", b"bee/c\xff.png"):
        write(images, os.fsdecode(name), image)
    write(images, os.fsdecode(b"bee/d\xff.png")).write_bytes(b"")
    for _ in range(2):  # the second time from the cache
        source = data.open_source(
            f"folder:{images}", cache_dir=cache, max_bad_share=0.3
        )
        np.testing.assert_array_equal(pixels(source), [image] * 3)
        assert source.class_names == (r"ant\xe9", "bee")
        assert source.skipped == [(r"bee/d\xff.png", "empty")]
        assert len(source.manifest_hash) == 64


def test_a_jpeg_cut_off_anywhere_is_left_out(tmp_path):
    whole = encoded(picture(64, 48), "JPEG")
    (tmp_path / "a.jpg").write_bytes(whole)
    for percent in range(1, 98, 8):
        end = len(whole) * percent // 100
        (tmp_path / f"cut at {percent}.jpg").write_bytes(whole[:end])
    source = data.open_source(f"folder:{tmp_path}", max_bad_share=1.0)
    assert source.manifest().names == ["a.jpg"]
    assert (source.heights[0], source.widths[0]) == (64, 48)


def test_a_text_file_called_png_is_told_from_images(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(ValueError, match="1 of 1 images.*not a readable"):
        data.open_source(f"folder:{tmp_path}")


def test_max_images_keeps_each_class(tmp_path):
    for name in "abc":
        for i in range(10):
            write(tmp_path, f"{name}/{i}.png")
    source = data.open_source(f"folder:{tmp_path}", max_images=6)
    assert source.labels.tolist() == [0, 0, 1, 1, 2, 2]


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
    """Has the check interrupted after so many blocks of 5 images."""
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


def test_images_for_pillow_are_checked_side_by_side(tmp_path, monkeypatch):
    for i in range(32):
        write(tmp_path, f"{i:02d}.gif", kind="GIF")
    both = threading.Barrier(2, timeout=60)
    decode = checking.decoding.decode_by_pillow

    def met(data):
        both.wait()
        return decode(data)

    monkeypatch.setattr(checking.cores, "usable_cpus", lambda: 2)
    monkeypatch.setattr(checking.decoding, "decode_by_pillow", met)
    source = data.open_source(f"folder:{tmp_path}")
    assert source.num_images == 32 and not source.skipped


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


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_long_check_shows_a_bar_on_a_terminal_alone(monkeypatch, stream):
    monkeypatch.setattr(scan, "_TOLD_FROM", 0.0)
    monkeypatch.setattr(scan, "_TELL_EVERY", 0.0)
    monkeypatch.setattr("sys.stderr", stream())
    with scan.Progress("/images", 2000, done=500) as tell:
        tell(500)
        tell(1000)
    shown = sys.stderr.getvalue().split("\r")
    if stream is io.StringIO:
        assert shown == [""]
        return
    half, done = "#" * 15 + " " * 15, "#" * 30
    assert shown == [
        "",
        f"Checking /images [{half}] 1,000 of 2,000",
        f"Checking /images [{done}] 2,000 of 2,000",
        "\x1b[K",
    ]


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
def test_a_damaged_cache_is_made_anew(tmp_path, damage):
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


def test_folders_without_images_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing at"):
        data.open_source(f"folder:{tmp_path}/absent")
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(FileNotFoundError, match="Found 1 other files"):
        data.open_source(f"folder:{tmp_path}")
    with pytest.raises(FileNotFoundError, match="Found a file"):
        data.open_source(f"folder:{tmp_path}/a.txt")


# TFRecord files.


def example(image, label=None, key="image/encoded"):
    def feature(**kind):
        return tf.train.Feature(**kind)

    features = {
        key: feature(bytes_list=tf.train.BytesList(value=[image])),
        "image/filename": feature(
            bytes_list=tf.train.BytesList(value=[b"name.png"])
        ),
    }
    if label is not None:
        labels = tf.train.Int64List(value=[label])
        features["image/class/label"] = feature(int64_list=labels)
    record = tf.train.Example(features=tf.train.Features(feature=features))
    return record.SerializeToString()


def write_records(path, records, compression=None):
    options = tf.io.TFRecordOptions(compression_type=compression)
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for record in records:
            writer.write(record)


def write_shards(folder, counts, labelled=True):
    """Shards of small PNGs; returns the images in order."""
    images = []
    for shard, count in enumerate(counts):
        part = [picture(9 + i, 8) for i in range(count)]
        write_records(
            folder / f"train-{shard}.tfrecord",
            [
                example(encoded(image), 7 + i if labelled else None)
                for i, image in enumerate(part)
            ],
        )
        images += part
    return images


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
def test_a_damaged_index_is_made_anew(tmp_path, damage):
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
    with pytest.raises(ValueError, match="no tf.train.Example"):
        opening("text")


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


def test_packed_records_that_change_are_unpacked_anew(tmp_path):
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


# URIs.


@pytest.mark.parametrize(
    "uri, words",
    [
        ("digits:?split=valid", "train, test, all.*split=valid"),
        ("digits:?fold=1", "only a split"),
        ("digits:?split=train&split=test", "a split, once"),
        ("digits:?split=", "splits train, test, all"),
        ("digits:?split", "splits train, test, all"),
        ("digits", "must be a URI such as"),
        ("ftp:/images", "folder:/path"),
        ("folder:", "names no path"),
        ("", "must be a URI"),
    ],
)
def test_uris_that_name_no_source_are_refused(uri, words):
    with pytest.raises(ValueError, match=words):
        data.open_source(uri)


def test_a_bare_path_is_answered_with_the_right_uri(tmp_path):
    with pytest.raises(ValueError, match=f"Write folder:{tmp_path}"):
        data.open_source(str(tmp_path))


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
        ([0, 1, 1], (1.0,), "one number a class, 2 for"),
        ([-1, 1, 1], (1.0,), "one number a class, 2 for"),
        ([0, 1, 1], (0.0, 0.1), "must leave an image"),
    ],
)
def test_class_shares_that_do_not_suit_are_refused(labels, shares, words):
    images = np.zeros((3, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match=words):
        with_class_shares(data.ArraySource(images, labels), shares)


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
        index = shards.shard_index(str(path), keys=shards.Keys("image", label))
        assert index.labels.tolist() == expected
