"""Where the images of a TFRecord file lie, found once and kept.

A TFRecord file can only be read from its begin; so an index of where each
image's bytes lie, and what the check found of them, is made once, beside the
file or in the run's folder. It is good as long as the file's size and time of
change stay; one that was interrupted goes on. Records that are damaged or hold
no image are rows too, with the reason in place of a size.
"""

import hashlib
import mmap
import os
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust.data.reading import records as records_of
from tfclust.data.reading import scan
from tfclust.data.reading.checking import Checks, as_checks, check_images
from tfclust.data.reading.records import FOOTER_BYTES, HEADER_BYTES
from tfclust.runtime.terminal import one_line

_NO_LABEL = -1
_PARSED_AT_ONCE = 256
# In place of the length of an image that is not there.
_IS_DAMAGED, HAS_NO_IMAGE = -1, -2


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
            # An offset of other kinds may be anything.
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
    folder = pathlib.Path(os.path.expanduser(cache_dir))
    return folder / f"{path.name}.{whole}{ending}"


def _arrays(index):
    named = index._asdict()
    return {**named.pop("checks")._asdict(), **named}


def _index_from(stored, limit):
    """The `ShardIndex` in arrays by name; None if a check never wrote such.

    `limit` is the file's size, beyond which nothing lies.
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
                if length < 0:
                    raise OSError(reason(length, keys))
                return data[begin : begin + length]

            return checked(read, started, os.path.basename(path), keep)


def reason(length, keys):
    """Why a record with this in place of a length has no image."""
    if length == _IS_DAMAGED:
        return records_of.DAMAGED
    return f"no tf.train.Example with one {one_line(keys.image)} (bytes)"


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

    The lengths of those that are none say why, for `reason`.
    """
    rows = [(begin, _IS_DAMAGED, _NO_LABEL) for begin, _ in bounds]
    found = False
    for start in range(0, len(bounds), _PARSED_AT_ONCE):
        intact = {}
        for row in range(len(bounds))[start : start + _PARSED_AT_ONCE]:
            begin, length = bounds[row]
            end = begin + length
            record = data[begin:end]
            if records_of.is_intact(record, data[end : end + FOOTER_BYTES]):
                intact[row] = record
        images, labels = parsed(list(intact.values()), path, keys, found)
        for row, image, label in zip(intact, images, labels, strict=True):
            begin, _ = bounds[row]
            if image is None:
                rows[row] = begin, HAS_NO_IMAGE, _NO_LABEL
            else:
                # Its bytes lie there in one piece, as protobuf has them.
                place = intact[row].find(image)
                rows[row] = begin + place, len(image), label
                found = True
    return zip(*rows, strict=True)


def parsed(records, path, keys, some=False):
    """Encoded images and labels of serialised examples, lists.

    Args:
      records: list of bytes. path: str, of their file, for the error.
      keys: `Keys`.
      some: whether the file is known to have images.

    Returns:
      list of bytes, None for a record that is no example with one image; and
      list of int, -1 where there is no label.

    Raises:
      ValueError: if none of them has an image, nor `some` before.
    """
    if not records:
        return [], []
    found = [_image_and_label(record, keys) for record in records]
    images, labels = map(list, zip(*found, strict=True))
    if not some and not any(images):
        raise ValueError(_wrong_features(records[0], path, keys))
    return images, labels


def _image_and_label(record, keys):
    """Of a serialised example; no image where it is none, or has not one.

    Protobuf reads it: TensorFlow's own parser of examples ends the process
    (segmentation fault) on some damaged ones whose checksums are right.
    """
    nothing = None, _NO_LABEL
    try:
        features = tf.train.Example.FromString(record).features.feature
    except Exception:  # protobuf's own error classes differ by version
        return nothing
    try:
        image = _only_value(features, keys.image, "bytes_list")
        label = _only_value(features, keys.label, "int64_list")
    except ValueError:
        return nothing
    return image or None, _NO_LABEL if label is None else label


def _only_value(features, name, kind):
    """The value of a feature; None where there is none of that name.

    Raises:
      ValueError: if it has several values, or such of another kind.
    """
    if not name or name not in features:
        return None
    feature = features[name]
    found = feature.WhichOneof("kind")
    values = getattr(feature, kind).value
    if found not in (None, kind) or len(values) > 1:
        raise ValueError(f"{name} holds no single value of {kind}.")
    return values[0] if values else None


def _wrong_features(record, path, keys):
    try:
        features = tf.train.Example.FromString(record).features.feature
        found = f"features {', '.join(_in_words(features)) or 'none'}"
    except Exception:  # protobuf's own error classes differ by version
        found = "a record that is no tf.train.Example"
    return (
        f"{one_line(path)}: records must be tf.train.Examples with one "
        f"{one_line(keys.image)} (bytes) and optionally one "
        f"{one_line(keys.label or 'label')} (int64). Received: {found}. "
        "Write them again, with these features."
    )


def _in_words(features):
    """Names, kinds and numbers of an example's features."""
    for name in sorted(features):
        kind = features[name].WhichOneof("kind") or "nothing"
        values = getattr(getattr(features[name], kind, None), "value", ())
        kind = {"int64_list": "int64"}.get(kind, kind.removesuffix("_list"))
        count = "" if len(values) == 1 else f"{len(values)} "
        yield f"{one_line(name)} ({count}{kind})"
