"""Where the images of a TFRecord file lie, found once and kept.

A TFRecord file can only be read from its begin; so an index of where each
image's bytes lie, and what the check found of them, is made once, beside the
file or in the run's folder. It is good as long as the file's size and time of
change stay; one that was interrupted goes on.

The format of a record: length (uint64), its checksum (uint32), data, checksum
of the data (uint32), all little-endian.
"""

import hashlib
import mmap
import os
import pathlib
import struct
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust.data import scan
from tfclust.data.checking import Checks, as_checks, check_images

HEADER_BYTES, FOOTER_BYTES = 12, 4
_NO_LABEL = -1
_PARSED_AT_ONCE = 256


class Keys(NamedTuple):
    """Names of the features in an example."""

    image: str = "image/encoded"
    label: str | None = "image/class/label"


KEYS = Keys()


class ShardIndex(NamedTuple):
    """Where the images of a file lie, and what the check found; rows."""

    offsets: np.ndarray  # int64, first byte of the encoded image in the file
    lengths: np.ndarray  # int64, bytes
    labels: np.ndarray  # int64, -1 where there is none
    checks: Checks

    def rows(self, kept):
        """Those rows alone."""
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
        images; None for that of TFRecord files.

    Raises:
      ValueError: if it is no whole TFRecord file, or has other features.
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
            started = _index_from(stored)
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
            except OSError:  # a folder that cannot be written: try the next
                continue

    return (make or _make_index)(path, keys, started, keep)


def _index_places(path, cache_dir):
    """Where an index may lie: beside the file, else in the cache."""
    path = pathlib.Path(path)
    places = [path.with_name(f".{path.name}.index.npz")]
    if cache_dir is not None:
        places.append(cache_place(path, cache_dir, ".index.npz"))
    return places


def cache_place(path, cache_dir, ending):
    """Where in the cache something that belongs to `path` lies."""
    path = pathlib.Path(path)
    whole = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    return pathlib.Path(cache_dir).expanduser() / f"{path.name}.{whole}{ending}"


def _arrays(index):
    named = index._asdict()
    return {**named.pop("checks")._asdict(), **named}


def _index_from(stored):
    checks = Checks(*(stored[name] for name in Checks._fields))
    return ShardIndex(
        stored["offsets"], stored["lengths"], stored["labels"], checks
    )


def _make_index(path, keys, started, keep):
    """Finds the images and checks those that `started` does not have."""
    with open(path, "rb") as file:
        # So is a file that a writer closed without a record.
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
                return data[begin : begin + length]

            return checked(read, started, os.path.basename(path), keep)


def checked(read, index, name, keep):
    """`index` with the checks that it lacks yet.

    Args:
      read: function of a row -> bytes.
      index: `ShardIndex` whose checks may be fewer than its rows.
      name: str, for the bar. keep: function of a `ShardIndex`.
    """
    count, done = len(index.offsets), len(index.checks.heights)
    parts = [index.checks]

    def joined():
        return index._replace(checks=Checks.joined(parts))

    with scan.Progress(name, count, done) as tell:

        def check(block):
            rows = range(done, count)[block]
            part = check_images(lambda i: read(rows[i]), len(rows), tell)
            parts.append(part)

        scan.in_blocks(count - done, check, lambda: keep(joined()))
    return joined()


def _record_bounds(data, path):
    """(begin, length) of each record's data."""
    bounds: list[tuple[int, int]] = []
    position = 0
    while position < len(data):
        begin = position + HEADER_BYTES
        length = None
        if begin <= len(data):
            (length,) = struct.unpack_from("<Q", data, position)
        position = begin + (length or 0) + FOOTER_BYTES
        if length is None or position > len(data):
            raise ValueError(
                f"{path} is no whole TFRecord file: record "
                f"{len(bounds)} reaches beyond the end ({len(data)} bytes). "
                "Unpack it or write it again."
            )
        bounds.append((begin, length))
    return bounds


def _images_in(data, records, path, keys):
    """Offset, length and label of the encoded image in each record."""
    offsets, lengths, labels = [], [], []
    for start in range(0, len(records), _PARSED_AT_ONCE):
        part = records[start : start + _PARSED_AT_ONCE]
        raw = [data[begin : begin + length] for begin, length in part]
        images, numbers = parsed(raw, path, keys)
        labels.extend(numbers)
        for (begin, _), record, image in zip(part, raw, images, strict=True):
            # The bytes lie in the record in one piece, as protobuf has them.
            offsets.append(begin + record.find(image))
            lengths.append(len(image))
    return offsets, lengths, labels


def parsed(records, path, keys):
    """Encoded images and labels of serialised examples, lists.

    Raises:
      ValueError: if one is no example or has no image.
    """
    spec = {keys.image: tf.io.FixedLenFeature([], tf.string, b"")}
    if keys.label:
        label = tf.io.FixedLenFeature([], tf.int64, _NO_LABEL)
        spec[keys.label] = label
    try:
        found = tf.io.parse_example(records, spec)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(_wrong_features(records[0], path, keys)) from error
    images = found[keys.image].numpy().tolist()
    for record, image in zip(records, images, strict=True):
        if not image:
            raise ValueError(_wrong_features(record, path, keys))
    if not keys.label:
        return images, [_NO_LABEL] * len(images)
    return images, found[keys.label].numpy().tolist()


def _wrong_features(record, path, keys):
    try:
        names = sorted(tf.train.Example.FromString(record).features.feature)
        found = f"features {', '.join(names) or 'none'}"
    except Exception:  # protobuf's own error classes differ by version
        found = "a record that is no tf.train.Example"
    return (
        f"{path}: records must be tf.train.Examples with one {keys.image} "
        f"(bytes) and optionally one {keys.label} (int64). Received: "
        f"{found}."
    )
