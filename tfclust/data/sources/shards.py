"""Where the images of a TFRecord file lie, found once and kept.

A TFRecord file can only be read from the start. So an index of where each
image's bytes lie, with the result of its check, is made once, beside the file
or in the run's folder. It is valid as long as the file's size and modification
time stay the same; an interrupted one is completed. Records that are damaged or
hold no image have rows too, with the reason instead of a size.
"""

import hashlib
import mmap
import os
import pathlib
from typing import NamedTuple

import numpy as np

from tfclust.data.reading import records as records_of
from tfclust.data.reading import scan
from tfclust.data.reading.checking import Checks, as_checks, check_images
from tfclust.data.reading.examples import KEYS, NO_LABEL, Examples
from tfclust.data.reading.records import FOOTER_BYTES, HEADER_BYTES
from tfclust.runtime import folders
from tfclust.runtime.terminal import one_line

# Codes used as the length of an image that is missing.
_IS_DAMAGED, HAS_NO_IMAGE = -1, -2


class ShardIndex(NamedTuple):
    """Where the images of a file lie, and what the check found; rows."""

    offsets: np.ndarray  # int64, first byte of the encoded image in the file
    lengths: np.ndarray  # int64, bytes
    labels: np.ndarray  # int64, -1 where there is none
    checks: Checks

    def rows(self, kept):
        """Only those rows."""
        return ShardIndex(
            self.offsets[kept],
            self.lengths[kept],
            self.labels[kept],
            self.checks.rows(kept),
        )

    @classmethod
    def joined(cls, parts):
        """The rows of all parts, one after the other."""
        return cls(
            np.concatenate([part.offsets for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            np.concatenate([part.labels for part in parts]),
            Checks.joined([part.checks for part in parts]),
        )


_NOTHING = np.zeros(0, np.int64)
NO_IMAGES = ShardIndex(_NOTHING, _NOTHING, _NOTHING, as_checks([]))


def shard_index(path, cache_dir=None, keys=KEYS, make=None):
    """The `ShardIndex` of a file, kept beside it or in `cache_dir`.

    Args:
      path: str. cache_dir: folder, or None.
      keys: `Keys` of its examples.
      make: function of (path, keys, started, keep) that finds and checks the
        images; None for the one for TFRecord files.

    Raises:
      ValueError: if it is not a complete TFRecord file, or has other features.
    """
    stat = os.stat(path)
    mark = np.array([stat.st_size, stat.st_mtime_ns], np.int64)
    features = np.array([name or "" for name in keys])
    places = _index_places(path, cache_dir)
    started = None
    for place in places:
        names = ["mark", "features", *_arrays(NO_IMAGES)]
        stored = scan.read_npz(place, names)
        if (
            stored
            and np.array_equal(stored["mark"], mark)
            and np.array_equal(stored["features"], features)
        ):
            # For other kinds of files an offset may be anything.
            limit = np.inf if make else stat.st_size
            started = _index_from(stored, limit)
            if started is None:
                continue
            if len(started.checks.heights) == len(started.offsets):
                return started
            break

    def keep(index):
        for place in places:
            try:
                scan.write_npz(
                    place, mark=mark, features=features, **_arrays(index)
                )
                break
            except OSError:  # this folder cannot be written to: try the next
                continue

    return (make or _make_index)(path, keys, started, keep)


def _index_places(path, cache_dir):
    """Where an index may be: beside the file, otherwise in the cache."""
    path = pathlib.Path(path)
    places = [path.with_name(f".{path.name}.index.npz")]
    if cache_dir is not None:
        places.append(cache_place(path, cache_dir, ".index.npz"))
    return places


def cache_place(path, cache_dir, ending):
    """The place in the cache of something that belongs to `path`."""
    path = pathlib.Path(path)
    whole = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    return folders.expanded(cache_dir) / f"{path.name}.{whole}{ending}"


def _arrays(index):
    named = index._asdict()
    return {**named.pop("checks")._asdict(), **named}


def _index_from(stored, limit):
    """The `ShardIndex` from arrays by name; None if no check ever wrote them.

    `limit` is the file's size, beyond which nothing can be.
    """
    checks = scan.checks_in(stored)
    offsets, lengths = stored["offsets"], stored["lengths"]
    labels = stored["labels"]
    if (
        checks is None
        or any(c.dtype != np.int64 for c in (offsets, lengths, labels))
        or offsets.ndim != 1
        or not offsets.shape == lengths.shape == labels.shape
        or len(checks.heights) > len(offsets)
        or ((offsets < 0) | (offsets > limit)).any()
        or ((lengths < HAS_NO_IMAGE) | (lengths > limit)).any()
    ):
        return None
    return ShardIndex(offsets, lengths, labels, checks)


def _make_index(path, keys, started, keep):
    """Finds the images and checks those that `started` does not have."""
    with open(path, "rb") as file:
        # A file that a writer closed without any record is empty too.
        if os.fstat(file.fileno()).st_size == 0:
            keep(NO_IMAGES)
            return NO_IMAGES
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if started is None:
                records = _record_bounds(data, path)
                offsets, lengths, labels = (
                    np.array(places, np.int64)
                    for places in _images_in(data, records, path, keys)
                )
                started = ShardIndex(offsets, lengths, labels, as_checks([]))
            bounds = np.stack([started.offsets, started.lengths], 1).tolist()

            def read(position):
                begin, length = bounds[position]
                if length < 0:
                    raise OSError(reason(length, keys))
                return data[begin : begin + length]

            return checked(read, started, os.path.basename(path), keep)


def reason(length, keys):
    """Why a record with this code as its length has no image."""
    if length == _IS_DAMAGED:
        return records_of.DAMAGED
    return f"not a tf.train.Example with one {one_line(keys.image)} (bytes)"


def checked(read, index, name, keep):
    """`index` with the checks that it still lacks.

    Args:
      read: function of a row -> bytes.
      index: `ShardIndex` whose checks may be fewer than its rows.
      name: str, for the bar. keep: function of a `ShardIndex`.
    """
    count, done = len(index.offsets), len(index.checks.heights)
    parts = [index.checks]

    def joined():
        return index._replace(checks=Checks.joined(parts))

    with scan.checking(name, count, done) as line:

        def check(block):
            rows = range(done, count)[block]
            part = check_images(lambda i: read(rows[i]), len(rows), line.update)
            parts.append(part)

        scan.in_blocks(count - done, check, lambda: keep(joined()))
    return joined()


def _record_bounds(data, path):
    """(start, length) of each record's data."""
    bounds: list[tuple[int, int]] = []
    position = 0
    while position < len(data):
        begin = position + HEADER_BYTES
        head = data[position:begin]
        length = records_of.length_of(head, path, len(bounds))
        position = begin + length + FOOTER_BYTES
        if position > len(data):
            raise records_of.not_whole(
                path,
                len(bounds),
                f"reaches beyond the end ({len(data)} bytes)",
            )
        bounds.append((begin, length))
    return bounds


def _images_in(data, bounds, path, keys):
    """Offset, length and label of the encoded image in each record.

    If there is none, the length is a code that says why, for `reason`.
    """
    rows = []
    with Examples(keys) as examples:
        for begin, length in bounds:
            end = begin + length
            record = data[begin:end]
            if not records_of.is_intact(record, data[end : end + FOOTER_BYTES]):
                rows.append((begin, _IS_DAMAGED, NO_LABEL))
                continue
            image, label = examples.read(record, path)
            if image is None:
                rows.append((begin, HAS_NO_IMAGE, NO_LABEL))
            else:
                # Its bytes are there in one piece, as protobuf stores them.
                place = begin + record.find(image)
                rows.append((place, len(image), label))
    return zip(*rows, strict=True)
