"""Every image decoded once before step 0: its size and turn, or what is wrong.

Sizes are read from the first bytes before anything is decoded, so that a
decompression bomb costs nothing. Images above `LARGE_PIXELS` are decoded one
after the other, so that memory holds one of them, not one per core.
"""

import concurrent.futures
import contextlib
import hashlib
import threading
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust.data.reading import decoding
from tfclust.data.reading.boxes import box_kind
from tfclust.data.reading.headers import read_header
from tfclust.runtime import cores, quiet

# 512 MiB of RGB; Pillow refuses the same.
MAX_PIXELS = (1 << 29) // 3
LARGE_PIXELS = 1 << 24
_CHUNK = 16  # images per call: enough to hide the call's cost, little memory
_BEGINS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "WebP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_large = threading.Lock()


class Checks(NamedTuple):
    """What the check found, a row per image; a reason if it is bad."""

    heights: np.ndarray  # int32 [n], upright
    widths: np.ndarray  # int32 [n]
    jpeg: np.ndarray  # bool [n], can be decoded smaller
    orientations: np.ndarray  # int32 [n], EXIF's, 1 to 8
    careful: np.ndarray  # bool [n], Pillow must decode it
    reasons: np.ndarray  # str [n], empty for good images
    digests: np.ndarray  # int64 [n], of the stored bytes

    def rows(self, kept):
        """Only those rows."""
        return Checks(*(column[kept] for column in self))

    @classmethod
    def joined(cls, parts):
        """The rows of all parts, one after the other."""
        columns = zip(*parts, strict=True)
        return cls(*(np.concatenate(column) for column in columns))


def as_checks(rows):
    """`Checks` from rows of its columns."""
    columns = list(zip(*rows, strict=True)) or [()] * len(Checks._fields)
    kinds = (np.int32, np.int32, bool, np.int32, bool, np.str_, np.int64)
    return Checks(*map(np.array, columns, kinds))


def check_images(read, count, count_done=None):
    """Decodes every image once, in parallel.

    Args:
      read: function of a position -> bytes; an OSError counts as a reason.
      count: int, positions from 0.
      count_done: called with how many more are done, or None.

    Returns:
      `Checks`.
    """
    starts = range(0, count, _CHUNK)
    with (
        quiet.without_decoder_lines(),  # each image gets a reason of its own
        concurrent.futures.ThreadPoolExecutor(cores.usable_cpus()) as pool,
    ):
        parts = []
        chunks = [
            pool.submit(
                _check_chunk, read, range(start, min(start + _CHUNK, count))
            )
            for start in starts
        ]
        try:
            for chunk in chunks:
                parts.extend(chunk.result())
                if count_done is not None:
                    count_done(len(chunk.result()))
        except BaseException:  # interrupted: leave the rest
            pool.shutdown(cancel_futures=True)
            raise
    return as_checks(parts)


def still_good(data, row):
    """Whether changed bytes are still an image as it was checked; by Pillow.

    Called where TensorFlow may have no free thread.

    Args:
      data: bytes.
      row: its row of `Checks`; the digest is of the earlier bytes.
    """
    header = read_header(data)
    if _refusal(data, header) is not None:
        return False
    try:
        size = decoding.decode_by_pillow(data).shape[:2]
    except Exception:  # Pillow's errors are of a dozen classes
        return False
    # TensorFlow also needs a PNG's last bytes, which Pillow does not.
    ends = header.kind != "PNG" or data.rstrip(b"\0")[-8:-4] == b"IEND"
    return ends and _row(header, size) == tuple(row)[:-1]


def _check_chunk(read, positions):
    """A row of `Checks` for each position."""
    rows, small, digests = {}, {}, dict.fromkeys(positions, 0)
    for position in positions:
        try:
            data = read(position)
        except OSError as error:
            rows[position] = _bad(error.strerror or str(error))
            continue
        digests[position] = _digest(data)
        header = read_header(data)
        reason = _refusal(data, header)
        if reason is not None:
            rows[position] = _bad(reason)
        elif header.careful:
            rows[position] = _checked_by_pillow(data, header)
        elif header.height * header.width > LARGE_PIXELS:
            with _large:
                rows[position] = _checked_alone(data, header)
        else:
            small[position] = data, header
    rows.update(_checked_together(small))
    return [(*rows[p], digests[p]) for p in positions]


def _digest(data):
    digest = hashlib.blake2b(data, digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _refusal(data, header):
    """Why bytes are not an image to decode; None if they may be one."""
    if not data:
        return "empty"
    if header is None:
        return _damaged(data)
    if header.kind == "HEIC" and not decoding.reads_heic():
        return f"a HEIC image: {decoding.NEEDS_HEIC}"
    if not header.height * header.width:
        return "no pixels"
    if header.height * header.width > MAX_PIXELS:
        return (
            f"a decompression bomb: {header.width} x {header.height} pixels, "
            f"more than {MAX_PIXELS:,}"
        )
    return None


def _damaged(data):
    for begins, kind in _BEGINS.items():
        if data.startswith(begins):
            return f"a damaged or truncated {kind}"
    kind = box_kind(data)
    if kind is not None:
        return f"a damaged or truncated {kind}"
    return "not a readable JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF or HEIC image"


def _bad(reason):
    return (0, 0, False, 1, False, reason)


def _row(header, size):
    """The row of a good image of stored height and width `size`; no digest."""
    height, width = size if header.orientation < 5 else size[::-1]
    jpeg = header.kind == "JPEG" and not header.careful
    turn, careful = header.orientation, header.careful
    return (int(height), int(width), jpeg, turn, careful, "")


def _checked_by_pillow(data, header):
    large = header.height * header.width > LARGE_PIXELS
    with _large if large else contextlib.nullcontext():
        try:
            size = decoding.decode_by_pillow(data).shape[:2]
        except decoding.NoPicture as error:
            return _bad(str(error))
        except Exception:  # Pillow's errors are of a dozen classes
            return _bad(_damaged(data))
    return _row(header, size)


def _checked_alone(data, header):
    try:
        return _row(header, _sizes_of([data]).numpy()[0])
    except tf.errors.OpError:
        return _bad(_damaged(data))


def _checked_together(small):
    """Rows for {position: (data, header)}, in one call if all are good."""
    if not small:
        return {}
    try:
        sizes = _sizes_of([data for data, _ in small.values()]).numpy()
    except tf.errors.OpError:  # one of them; which one?
        return {p: _checked_alone(*entry) for p, entry in small.items()}
    return {
        position: _row(header, size)
        for (position, (_, header)), size in zip(
            small.items(), sizes, strict=True
        )
    }


@tf.function(
    input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
)
def _sizes_of(data):
    """int32 `[n, 2]`, height and width; an error if one cannot be decoded."""

    def size_of_jpeg(encoded):
        # Decoding at an eighth of the size reads the whole stream with less
        # arithmetic.
        small = tf.io.decode_jpeg(encoded, channels=3, ratio=8)
        # The larger size is the image's own. The result must depend on the
        # pixels, because TensorFlow drops mere control dependencies.
        whole = tf.io.extract_jpeg_shape(encoded)[:2]
        return tf.maximum(whole, tf.shape(small)[:2])

    def size_of(encoded):
        return tf.cond(
            tf.strings.substr(encoded, 0, 3) == b"\xff\xd8\xff",
            lambda: size_of_jpeg(encoded),
            lambda: tf.shape(decoding.decode(encoded))[:2],
        )

    return tf.map_fn(
        size_of,
        data,
        fn_output_signature=tf.TensorSpec([2], tf.int32),
        parallel_iterations=1,  # threads are many, memory is not
    )
