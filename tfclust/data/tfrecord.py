"""`tfrecord:/glob`: images in TFRecord files, read in any order.

Records are `tf.train.Example`s with `image/encoded` and, optionally,
`image/class/label`. A TFRecord file can only be read from its begin; so an
index of where each image's bytes lie is made once, beside the file or in the
run's folder, and is good as long as the file's size and time of change stay.

The format of a record: length (uint64), its checksum (uint32), data, checksum
of the data (uint32), all little-endian.
"""

import glob
import hashlib
import mmap
import os
import pathlib
import struct
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust.data import scan
from tfclust.data.decoding import Checks, EncodedSource, check_images
from tfclust.data.source import Manifest

_HEADER_BYTES, _FOOTER_BYTES = 12, 4
_NO_LABEL = -1
_SPEC = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string, b""),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64, _NO_LABEL),
}
_PARSED_AT_ONCE = 256


class ShardIndex(NamedTuple):
    """Where the images of a file lie, and what the check found; rows."""

    offsets: np.ndarray  # int64, first byte of the encoded image in the file
    lengths: np.ndarray  # int64, bytes
    labels: np.ndarray  # int64, -1 where there is none
    checks: Checks


_NO_IMAGES = ShardIndex(
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    Checks(
        np.zeros(0, np.int32),
        np.zeros(0, np.int32),
        np.zeros(0, bool),
        np.zeros(0, np.str_),
    ),
)


class TFRecordSource(EncodedSource):
    """Images of TFRecord files, in the order of sorted file names.

    Args:
      pattern: path or glob; `~` stands for the home folder.
      max_images: int, the first so many; None for all.
      cache_dir: folder for indices where the files' own folder cannot be
        written; None for none.
      max_bad_share: float, the share of unreadable images above which the
        files are refused.
      argument: str, what the files were given as, for errors.

    Raises:
      FileNotFoundError: if no file matches.
      ValueError: if a file is no uncompressed TFRecord file or lacks images,
        all files are empty, or too many images cannot be read.
    """

    def __init__(
        self,
        pattern,
        *,
        max_images=None,
        cache_dir=None,
        max_bad_share=0.1,
        argument="data",
    ):
        uri = f"tfrecord:{pattern}"
        paths = _matching_files(pattern, argument)
        indices = []
        for path in paths:
            indices.append(shard_index(path, cache_dir))
            if max_images and _total(indices) >= max_images:
                break
        if not _total(indices):
            raise ValueError(
                f"{uri} holds no records: {paths[0]} is an empty file"
                + (f", as are all {len(paths)}." if paths[1:] else ".")
            )
        rows = slice(max_images)
        lengths = np.concatenate([i.lengths for i in indices])[rows]
        offsets = np.concatenate([i.offsets for i in indices])[rows]
        labels = np.concatenate([i.labels for i in indices])[rows]
        shards = np.repeat(
            np.arange(len(indices)), [len(i.lengths) for i in indices]
        )[rows]
        checks = Checks(
            *(
                np.concatenate(column)[rows]
                for column in zip(*(i.checks for i in indices), strict=True)
            )
        )
        names = [
            f"{os.path.basename(paths[shard])}@{offset}"
            for shard, offset in zip(shards, offsets, strict=True)
        ]
        good, skipped = scan.good_and_skipped(checks, names, uri, max_bad_share)
        unlabelled = int((labels[good] < 0).sum())
        notices = []
        if 0 < unlabelled < len(good):
            notices.append(
                f"{unlabelled} of {len(good)} records have no label: figures "
                "by label are left out"
            )
        super().__init__(
            uri,
            Manifest(
                [names[i] for i in good],
                lengths[good],
                checks.heights[good],
                checks.widths[good],
            ),
            labels=None if unlabelled else labels[good],
            jpeg=checks.jpeg[good],
            skipped=skipped,
            notices=notices,
        )
        self._paths = paths
        self._shards, self._offsets = shards[good], offsets[good]
        with tf.device("CPU:0"):
            places = [shards[good], offsets[good], lengths[good]]
            self._places = tf.constant(np.stack(places, axis=1), tf.int64)

    def identities(self):
        stats = [os.stat(path) for path in self._paths]
        files = [(stat.st_dev, stat.st_ino) for stat in stats]
        places = zip(self._shards, self._offsets.tolist(), strict=True)
        return [(*files[shard], offset) for shard, offset in places]

    def encoded(self, index):
        data = tf.numpy_function(
            self._read,
            [tf.gather(self._places, index)],
            tf.string,
            # A function with a state would be called by one thread at a time.
            stateful=False,
        )
        return tf.ensure_shape(data, [])

    def _read(self, place):
        shard, offset, length = place.tolist()
        with open(self._paths[shard], "rb") as file:
            file.seek(offset)
            return file.read(length)


def shard_index(path, cache_dir=None):
    """The `ShardIndex` of a file, kept beside it or in `cache_dir`."""
    stat = os.stat(path)
    mark = np.array([stat.st_size, stat.st_mtime_ns], np.int64)
    places = _index_places(path, cache_dir)
    for place in places:
        stored = scan.read_npz(place, ["mark", *_index_arrays(_NO_IMAGES)])
        if stored and np.array_equal(stored["mark"], mark):
            return _index_from(stored)
    index = _make_index(path)
    for place in places:
        try:
            scan.write_npz(place, mark=mark, **_index_arrays(index))
            break
        except OSError:  # a folder that cannot be written: try the next
            continue
    return index


def _matching_files(pattern, argument):
    found = sorted(glob.glob(os.path.expanduser(pattern)))
    found = [path for path in found if os.path.isfile(path)]
    if not found:
        raise FileNotFoundError(
            f"{argument}: no TFRecord files match {pattern}: expected a path "
            "or a glob such as /data/train-*.tfrecord. Found 0 files."
        )
    return found


def _total(indices):
    return sum(len(index.lengths) for index in indices)


def _index_places(path, cache_dir):
    """Where an index may lie: beside the file, else in the cache."""
    path = pathlib.Path(path)
    places = [path.with_name(f".{path.name}.index.npz")]
    if cache_dir is not None:
        whole = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
        cache = pathlib.Path(cache_dir).expanduser()
        places.append(cache / f"{path.name}.{whole}.index.npz")
    return places


def _index_arrays(index):
    named = index._asdict()
    return {**named.pop("checks")._asdict(), **named}


def _index_from(stored):
    checks = Checks(*(stored[name] for name in Checks._fields))
    return ShardIndex(
        stored["offsets"], stored["lengths"], stored["labels"], checks
    )


def _make_index(path):
    with open(path, "rb") as file:
        # So is a file that a writer closed without a record.
        if os.fstat(file.fileno()).st_size == 0:
            return _NO_IMAGES
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            records = _record_bounds(data, path)
            offsets, lengths, labels = _images_in(data, records, path)

            def read(position):
                begin = offsets[position]
                return data[begin : begin + lengths[position]]

            checks = check_images(read, len(offsets))
    return ShardIndex(
        np.array(offsets, np.int64),
        np.array(lengths, np.int64),
        np.array(labels, np.int64),
        checks,
    )


def _record_bounds(data, path):
    """(begin, length) of each record's data."""
    bounds: list[tuple[int, int]] = []
    position = 0
    while position < len(data):
        begin = position + _HEADER_BYTES
        length = None
        if begin <= len(data):
            (length,) = struct.unpack_from("<Q", data, position)
        position = begin + (length or 0) + _FOOTER_BYTES
        if length is None or position > len(data):
            raise ValueError(
                f"{path} is no whole, uncompressed TFRecord file: record "
                f"{len(bounds)} reaches beyond the end ({len(data)} bytes). "
                "Unpack it or write it again."
            )
        bounds.append((begin, length))
    return bounds


def _images_in(data, records, path):
    """Offset, length and label of the encoded image in each record."""
    offsets, lengths, labels = [], [], []
    for start in range(0, len(records), _PARSED_AT_ONCE):
        part = records[start : start + _PARSED_AT_ONCE]
        raw = [data[begin : begin + length] for begin, length in part]
        try:
            parsed = tf.io.parse_example(raw, _SPEC)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(_wrong_features(raw[0], path)) from error
        labels.extend(parsed["image/class/label"].numpy().tolist())
        encoded = parsed["image/encoded"].numpy()
        for (begin, _), record, image in zip(part, raw, encoded, strict=True):
            if not image:
                raise ValueError(_wrong_features(record, path))
            # The bytes lie in the record in one piece, as protobuf has them.
            offsets.append(begin + record.find(image))
            lengths.append(len(image))
    return offsets, lengths, labels


def _wrong_features(record, path):
    try:
        names = sorted(tf.train.Example.FromString(record).features.feature)
        found = f"features {', '.join(names) or 'none'}"
    except Exception:  # protobuf's own error classes differ by version
        found = "a record that is no tf.train.Example"
    return (
        f"{path}: records must be tf.train.Examples with one image/encoded "
        "(bytes) and optionally one image/class/label (int64). Received: "
        f"{found}."
    )
