"""`tfrecord_stream:/glob?window=10000`: TFRecord files read from start to end.

For data sets that nobody wants to read through before the first step, gzipped
or not, of unknown length. An epoch is a window: the next `window` records of
the files, which are read in a different order in each pass. Within its window
an image has an index, and the order of an epoch shuffles the window; so (seed,
step) is still the whole position in the data. A resumed run skips the records
before its window by their lengths alone.

Each window is checked before its first step. A bad record is replaced by
another of the window, drawn from (window, index).
"""

import gzip
import hashlib
import os
import zlib

import numpy as np
import tensorflow as tf

from tfclust.data.config import MAX_BAD_SHARE
from tfclust.data.reading import records, scan
from tfclust.data.reading.checking import check_images
from tfclust.data.reading.examples import KEYS, Examples
from tfclust.data.sources import shards
from tfclust.data.sources.base import Manifest
from tfclust.data.sources.encoded import EncodedSource
from tfclust.data.sources.tfrecord import is_packed, matching_files
from tfclust.runtime import cores
from tfclust.runtime.terminal import one_line

DEFAULT_WINDOW = 10_000
_PIECE_BYTES = 1 << 20


_MAX_WINDOW = 10**9  # a window is kept in memory


def open_uri(asked):
    """The source for `tfrecord_stream:/glob`; takes a `schemes.Asked`."""
    if asked.max_images is not None:
        raise ValueError(
            f"{asked.argument}={one_line(asked.uri)} is a stream, and "
            "max_images does not apply to it. Received: max_images="
            f"{asked.max_images}. Give fewer --steps."
        )
    return StreamSource(
        asked.path,
        **{name: _number(asked, name) for name in asked.words},
        max_bad_share=asked.max_bad_share,
        argument=asked.argument,
    )


def _number(asked, name):
    text = asked.words[name]
    few_digits = len(text) <= len(str(_MAX_WINDOW))
    number = int(text) if text.isdecimal() and few_digits else 0
    if not 1 <= number <= _MAX_WINDOW:
        raise ValueError(
            f"{name} must be a number of records, 1 to {_MAX_WINDOW:,}. "
            f"Received: {asked.argument}={one_line(asked.uri)}."
        )
    return number


class StreamSource(EncodedSource):
    """A window of a stream of records; `begin_epoch` moves to another.

    Args:
      pattern: path or glob; `~` stands for the home folder.
      window: int, records in an epoch. Their bytes are kept in memory.
      max_bad_share: float, the share of unreadable images in a window above
        which it is refused.
      argument: str, the argument that named the files, for errors.

    Raises:
      FileNotFoundError: if no file matches.
      ValueError: if a file is not a complete TFRecord file or has no images,
        there are no records, or too many images cannot be read.
    """

    is_stream = True

    def __init__(
        self,
        pattern,
        *,
        window=DEFAULT_WINDOW,
        max_bad_share=MAX_BAD_SHARE,
        argument="data",
    ):
        self._files = matching_files(pattern, argument)
        self._max_bad_share = max_bad_share
        self._records = _Records(self._files)
        self._window = 0
        uri = f"tfrecord_stream:{one_line(pattern)}?window={window}"
        self.uri, self.num_images = uri, window
        checks, manifest, skipped = self._load()
        super().__init__(uri, manifest, checks, skipped=skipped)
        with tf.device("CPU:0"):
            self._columns = {
                name: tf.Variable(getattr(checks, name), trainable=False)
                for name in ("heights", "widths", "jpeg")
            }
            self._orientations = tf.Variable(
                checks.orientations, trainable=False
            )
            self._careful = tf.Variable(checks.careful, trainable=False)

    @property
    def manifest_hash(self):
        """SHA-256 over the files' names and sizes, and the window; hex."""
        digest = hashlib.sha256(str(self.num_images).encode())
        for path in self._files:
            size = os.stat(path).st_size
            digest.update(os.fsencode(os.path.basename(path)))
            digest.update(f"|{size}\n".encode())
        return digest.hexdigest()

    def column(self, name):
        return self._columns[name]

    def stored(self):
        return None  # the next epoch has different images

    def begin_epoch(self, epoch):
        if epoch == self._window:
            return
        self._window = epoch
        try:
            checks, self._manifest, skipped = self._load()
        except scan.UnreadableImages as error:
            for entry in error.skipped:
                self.note_failure(*entry)
            raise
        self.heights, self.widths = checks.heights, checks.widths
        self.jpeg, self._checks = checks.jpeg, checks
        for name, variable in self._columns.items():
            variable.assign(getattr(checks, name))
        self._orientations.assign(checks.orientations)
        self._careful.assign(checks.careful)
        for entry in skipped:
            self.note_failure(*entry)

    def read(self, position):
        return self._data[position], True

    def _load(self):
        """Checks and manifest of the window; (name, reason) of bad ones."""
        first = self._window * self.num_images
        found = self._records.at(first, self.num_images)
        names, data, reasons = map(list, zip(*found, strict=True))

        def read(position):
            if reasons[position]:
                raise OSError(reasons[position])
            return data[position]

        with scan.checking(self.uri, len(data)) as line:
            checks = check_images(read, len(data), line.update)
        good, skipped = scan.good_and_skipped(
            checks, names, self.uri, self._max_bad_share
        )
        rows = np.arange(len(data))
        bad = np.setdiff1d(rows, good)
        draws = np.random.default_rng(self._window).integers(
            len(good), size=len(data)
        )
        rows[bad] = good[draws[bad]]
        self._data = tuple(data[i] for i in rows)
        checks, names = checks.rows(rows), [names[i] for i in rows]
        manifest = Manifest.of_checked(
            names, list(map(len, self._data)), checks
        )
        return checks, manifest, skipped


class _Records:
    """Records of files in a row, pass after pass; goes forward or restarts."""

    def __init__(self, files):
        self._files = files
        self._start()

    def at(self, first, count):
        """(name, encoded image, "") of `count` records from number `first`.

        If a record has no image, the second is b"" and the third says why.
        """
        if first < self._next:
            self._start()
        while self._next < first:
            next(self._all)
            self._next += 1
        found: list[tuple[str, bytes, str]] = []
        num_bytes = 0
        with Examples(KEYS) as examples:
            while len(found) < count:
                path, name, read = next(self._all)
                record = read()
                self._next += 1
                num_bytes += len(record or b"")
                _refuse_beyond_memory(num_bytes, len(found) + 1, count)
                found.append((name, *_image_of(record, path, examples)))
        return found

    def _start(self):
        self._all, self._next = self._walk(), 0

    def _walk(self):
        number = 0
        while True:
            count = 0
            order = np.random.default_rng(number).permutation(len(self._files))
            for i in order if number else range(len(self._files)):
                for record in _records_of(self._files[i]):
                    count += 1
                    yield record
            if not count:
                raise ValueError(
                    f"{one_line(self._files[0])} and all other files are "
                    "empty: a stream needs a record."
                )
            number += 1


def _records_of(path):
    """(path, name, function that reads the record) of each, in order.

    The function is called before the next record is taken, or not at all. It
    returns None for a record whose checksum does not match.
    """
    packed = is_packed(path)
    name = one_line(os.path.basename(path))
    size = os.stat(path).st_size
    with gzip.open(path) if packed else open(path, "rb") as file:
        number, place = 0, 0
        while head := _read(file, records.HEADER_BYTES, path, number, True):
            length = records.length_of(head, path, number)
            begin = place + records.HEADER_BYTES
            place = begin + length + records.FOOTER_BYTES
            if not packed and place > size:
                raise _not_whole(path, number)

            def read(begin=begin, length=length, number=number):
                file.seek(begin)
                data = _read(file, length, path, number)
                footer = _read(file, records.FOOTER_BYTES, path, number)
                return data if records.is_intact(data, footer) else None

            yield path, f"{name}@{number}", read
            _seek(file, place, path, number)
            number += 1


def _read(file, length, path, number, may_end=False):
    parts, missing = [], length
    try:
        # In pieces: what a header announces may not exist.
        while missing and (part := file.read(min(missing, _PIECE_BYTES))):
            parts.append(part)
            missing -= len(part)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _not_whole(path, number) from error
    if missing and not (may_end and missing == length):
        raise _not_whole(path, number)
    return b"".join(parts)


def _seek(file, place, path, number):
    try:
        file.seek(place)  # in a gzip file this reads up to there
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _not_whole(path, number) from error


def _not_whole(path, number):
    return records.not_whole(path, number, "reaches beyond the end")


def _image_of(record, path, examples):
    """The encoded image in a record and ""; or b"" and why there is none."""
    if record is None:
        return b"", records.DAMAGED
    image, _ = examples.read(record, path)
    if image is None:
        return b"", shards.reason(shards.HAS_NO_IMAGE, KEYS)
    return image, ""


def _refuse_beyond_memory(num_bytes, num_records, window):
    if num_bytes > cores.memory_bytes() // 2:
        raise ValueError(
            f"window={window} needs more memory than there is: its first "
            f"{num_records:,} records have {num_bytes:,} bytes. Give a smaller "
            "window."
        )
