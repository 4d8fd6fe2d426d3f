"""Readers: what is damaged is left out and told; nothing is read twice."""

import gzip
import os
import pathlib
import struct
import subprocess
import tempfile

import numpy as np
import pytest

from tests.support import bad_bytes as made
from tests.support.image_files import (
    encoded,
    example,
    picture,
    pixels,
    write,
    write_records,
)
from tfclust import data
from tfclust.data.reading import examples, scan
from tfclust.data.sources import shards
from tfclust.runtime import cores
from tfclust.runtime.terminal import one_line

# TFRecord files.


def write_labelled(folder, count=4):
    """A file of records labelled 0, 1, ...; its path and bytes."""
    path = folder / "a.tfrecord"
    records = [example(encoded(picture(8, 8)), i) for i in range(count)]
    write_records(path, records)
    return path, path.read_bytes()


def bounds(whole):
    """(begin, end) of each record's data."""
    found, place = [], 0
    while place < len(whole):
        (length,) = struct.unpack_from("<Q", whole, place)
        found.append((place + 12, place + 12 + length))
        place += length + 16
    return found


def test_a_turned_bit_of_a_label_is_left_out_and_told(tmp_path):
    path, whole = write_labelled(tmp_path)
    begin, end = bounds(whole)[0]
    # The label is the last byte of its feature, before other features.
    place = whole.index(made.LABEL.encode(), begin, end)
    place += len(made.LABEL) + len(b"\x12\x05\x1a\x03\x0a\x01")
    assert whole[place] == 0
    path.write_bytes(made.flipped(whole, place, bit=1))
    source = data.open_source(f"tfrecord:{path}", max_bad_share=0.3)
    assert source.labels.tolist() == [1, 2, 3]
    ((name, reason),) = source.skipped
    assert name == "a.tfrecord@12" and "checksum" in reason


@pytest.mark.parametrize("where", ["first", "last", "footer"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("scheme", ["tfrecord", "tfrecord_stream"])
def test_a_damaged_record_is_left_out(tmp_path, scheme, packed, where):
    path, whole = write_labelled(tmp_path)
    begin, end = bounds(whole)[2]
    place = {"first": begin, "last": end - 1, "footer": end + 3}[where]
    damaged = made.flipped(whole, place)
    path.write_bytes(gzip.compress(damaged) if packed else damaged)
    window = "?window=4" if scheme == "tfrecord_stream" else ""
    source = data.open_source(f"{scheme}:{path}{window}", max_bad_share=0.3)
    ((_, reason),) = source.skipped
    assert reason == "damaged: its checksum does not match"
    assert source.num_images == (4 if window else 3)


@pytest.mark.parametrize("scheme", ["tfrecord", "tfrecord_stream"])
def test_records_without_an_image_among_others_are_left_out(tmp_path, scheme):
    good = [example(encoded(picture(8, 8)), i) for i in range(6)]
    bad = [
        made.picture("JPEG"),
        made.example(label=1),
        made.example(image=made.picture(), label=0.5),
        made.example(image=b""),
    ]
    write_records(tmp_path / "a.tfrecord", [good[0], *bad, *good[1:]])
    window = "?window=10" if scheme == "tfrecord_stream" else ""
    source = data.open_source(
        f"{scheme}:{tmp_path}/a.tfrecord{window}", max_bad_share=0.5
    )
    assert [reason for _, reason in source.skipped] == [
        "not a tf.train.Example with one image/encoded (bytes)"
    ] * 4
    if not window:
        assert source.labels.tolist() == list(range(6))


def test_windows_beyond_the_memory_are_refused(tmp_path, monkeypatch):
    path, whole = write_labelled(tmp_path)
    monkeypatch.setattr(cores, "memory_bytes", lambda: len(whole))
    with pytest.raises(
        ValueError, match="window=9 needs more.*first 3 records"
    ):
        data.open_source(f"tfrecord_stream:{path}?window=9")


def test_archives_beyond_the_memory_are_refused(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", x=np.zeros([9, 8, 8], np.uint8))
    monkeypatch.setattr(cores, "memory_bytes", lambda: 500)
    with pytest.raises(ValueError, match="x.npy needs 576 bytes of memory"):
        data.open_source(f"npz:{tmp_path}/a.npz?images=x")


# Kept results.


def cut(names, by=1):
    def change(stored):
        for name in names:
            stored[name] = stored[name][:-by]

    return change


def put(name, value):
    def change(stored):
        stored[name] = value(stored[name])

    return change


CHANGES = {
    "one column shorter": cut(["heights"]),
    "reasons shorter": cut(["reasons"]),
    "all columns shorter": cut([*scan.Checks._fields]),
    "a column of floats": put("heights", lambda x: x.astype(float)),
    "a column of int64": put("widths", lambda x: x.astype(np.int64)),
    "reasons in numbers": put("reasons", lambda x: np.zeros(len(x))),
    "a table": put("digests", lambda x: x[:, None]),
    "a number": put("jpeg", lambda x: x[0]),
    "good images without pixels": put("heights", lambda x: 0 * x),
    "a turn that is none": put("orientations", lambda x: x + 8),
    "another version": put("version", lambda x: x + 1),
    "a version in words": put("version", lambda x: np.array("new")),
    "versions": put("version", lambda x: np.array([4, 4])),
}
OF_FILES = {
    "marks cut": cut(["marks"], 3),
    "ends cut": cut(["ends"]),
    "ends backwards": put("ends", lambda x: x[::-1].copy()),
    "ends beyond": put("ends", lambda x: x + 1),
    "ends of floats": put("ends", lambda x: x.astype(float)),
    "no ends": put("ends", lambda x: x[:0]),
}
OF_RECORDS = {
    "fewer offsets": cut(["offsets"]),
    "fewer labels": cut(["labels"]),
    "offsets beyond": put("offsets", lambda x: x + 10**6),
    "offsets before": put("offsets", lambda x: x - 10**6),
    "lengths beyond": put("lengths", lambda x: x + 10**6),
    "labels of floats": put("labels", lambda x: x / 2),
    "features in numbers": put("features", lambda x: np.zeros(2)),
}


def changed(path, change):
    with np.load(path) as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez(path, **arrays)


@pytest.mark.parametrize("name", CHANGES | OF_FILES)
def test_a_kept_check_that_makes_no_sense_is_rebuilt(tmp_path, name):
    for i in range(3):
        write(tmp_path / "images", f"{i}.png")
    uri, cache = f"folder:{tmp_path}/images", tmp_path / "cache"
    first = data.open_source(uri, cache_dir=cache)
    (kept,) = cache.iterdir()
    changed(kept, (CHANGES | OF_FILES)[name])
    again = data.open_source(uri, cache_dir=cache)
    assert again.manifest_hash == first.manifest_hash


@pytest.mark.parametrize("name", CHANGES | OF_RECORDS)
def test_an_index_that_makes_no_sense_is_rebuilt(tmp_path, name):
    path, _ = write_labelled(tmp_path)
    first = data.open_source(f"tfrecord:{path}")
    (kept,) = tmp_path.glob(".*.npz")
    changed(kept, (CHANGES | OF_RECORDS)[name])
    again = data.open_source(f"tfrecord:{path}")
    assert again.manifest_hash == first.manifest_hash
    assert again.labels.tolist() == [0, 1, 2, 3]


# Folders.


def test_a_lattice_of_links_gives_each_image_once(tmp_path):
    """Seven folders with links to all the others: 2 files had 1,957 paths."""
    names = "abcdefg"
    for name in names:
        (tmp_path / name).mkdir()
        for other in names:
            (tmp_path / name / other).symlink_to(tmp_path / other)
    write(tmp_path, "a/1.png")
    write(tmp_path, "g/2.png")
    source = data.open_source(f"folder:{tmp_path}")
    assert source.manifest().names == ["a/1.png", "g/2.png"]
    assert source.labels.tolist() == [0, 1]
    reasons = {reason for _, reason in source.skipped}
    assert len(source.skipped) == 49
    assert reasons == {"a link to a folder that has been read already"}


def test_a_folder_keeps_its_own_name_whatever_links_lead_to_it(tmp_path):
    write(tmp_path, "away/set/x/1.png")
    write(tmp_path, "away/set/y/2.png")
    top = tmp_path / "top"
    write(top, "z/3.png")
    (top / "a").symlink_to("z")
    (top / "d").symlink_to(tmp_path / "away/set")
    (top / "c").symlink_to(tmp_path / "away/set")
    (top / "b").symlink_to(tmp_path / "away/set/x")
    source = data.open_source(f"folder:{top}")
    assert source.manifest().names == ["b/1.png", "c/y/2.png", "z/3.png"]
    assert source.class_names == ("b", "c", "z")
    assert [name for name, _ in source.skipped] == ["a/", "c/x/", "d/"]


def test_links_to_files_are_images_of_their_own(tmp_path):
    write(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to("a.png")
    assert data.open_source(f"folder:{tmp_path}").num_images == 2


@pytest.fixture
def outside():
    """A folder that may become deeper than pytest can remove."""
    folder = pathlib.Path(tempfile.mkdtemp())
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)


def test_a_folder_1_100_deep_is_read(outside, tmp_path):
    top = outside / "top"
    made.deep(top, 1100)
    write(top, "a.png")
    (outside / "b.png").write_bytes(encoded(picture()))
    os.link(outside / "b.png", f"{top}/{'d/' * 1100}b.png")
    source = data.open_source(f"folder:{top}", cache_dir=tmp_path / "cache")
    assert source.num_images == 2 and not source.skipped
    assert len(pixels(source)) == 2


def test_folders_beyond_the_longest_path_are_listed(outside):
    top = outside / "top"
    made.deep(top, 20, "d" * 250)
    write(top, "a.png")
    source = data.open_source(f"folder:{top}")
    ((name, reason),) = source.skipped
    assert source.num_images == 1
    assert name.startswith("dd") and reason == os.strerror(36)


# Names.


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("käfer 7.png", "käfer 7.png"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[2Jx\x9b\x00\x7f", r"\x1b[2Jx\x9b\x00\x7f"),
        ("\u202egnp.a\u2028", r"\u202egnp.a\u2028"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("\ud800", r"\ud800"),
    ],
)
def test_names_are_shown_so_that_no_terminal_obeys_them(name, shown):
    assert one_line(name) == shown
    assert shown.isprintable()


def test_all_that_a_folder_tells_is_printable(tmp_path):
    top = tmp_path / "a\x1bset"
    for name in ("\x1b1/a\n.png", "\x1b2/b\n.png", "\x1b2/\x1bc.png"):
        write(top, name)
    (top / "\x1b2/\x1bc.png").write_bytes(b"junk")
    write(top, "\x1b2/\x1bd.txt")
    (top / "\x1b3").symlink_to("\x1b2")
    source = data.open_source(f"folder:{top}", max_bad_share=0.5)
    told = [source.uri, *source.class_names, *sum(source.skipped, ())]
    assert len(source.skipped) == 3
    assert all(map(str.isprintable, told))


def test_reading_a_file_of_records_costs_one_checksum_a_record(monkeypatch):
    """A record and its length, nothing twice."""
    taken = []
    real = shards.records_of.masked_crc32c
    monkeypatch.setattr(
        shards.records_of,
        "masked_crc32c",
        lambda data: taken.append(len(data)) or real(data),
    )
    whole = made.good(3)
    bound = shards._record_bounds(whole, "a")
    list(shards._images_in(whole, bound, "a", examples.KEYS))
    assert taken == [8, 8, 8, *(length for _, length in bound)]


def test_checksums_are_those_that_tensorflow_writes(tmp_path):
    """RFC 3720's example, and whole files."""
    assert made.crc32c(b"123456789") == 0xE3069283
    path, whole = write_labelled(tmp_path)
    records = [whole[slice(*bound)] for bound in bounds(whole)]
    assert made.framed(*records) == whole
