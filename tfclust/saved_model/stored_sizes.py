"""The size of an encoded image before it is decoded, in a graph.

The first bytes of JPEG, PNG, GIF, BMP and WebP are read by TensorFlow's own
operations, so that a server without Python refuses a picture of a billion
pixels before memory is allocated for it.
"""

import numpy as np
import tensorflow as tf

_MAGIC = {  # `_` stands for any byte
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG",
    "GIF": b"GIF8",
    "BMP": b"BM",
    "WebP": b"RIFF____WEBP",
}
KINDS = (*_MAGIC, "unknown")
_FIRST = 30  # bytes that hold every size except a JPEG's
_WEBP_MASK = 1 << 14  # widths and heights of 14 bits


def kind_and_head(data):
    """The kind of image that a scalar string starts as.

    Returns:
      int32 scalar, an index into `KINDS`; int64 `[30]`, the first bytes, 0
      after the end.
    """
    head = tf.strings.substr(data, 0, _FIRST)
    head = tf.io.decode_raw(head, tf.uint8, fixed_length=_FIRST)
    # One comparison for all kinds; the last row, without bytes, fits all.
    words = np.zeros([len(KINDS), _FIRST], np.uint8)
    anything = np.ones([len(KINDS), _FIRST], bool)
    for row, magic in enumerate(_MAGIC.values()):
        words[row, : len(magic)] = list(magic)
        anything[row, : len(magic)] = [byte == ord("_") for byte in magic]
    fits = tf.reduce_all((head == words) | anything, axis=1)
    kind = tf.argmax(tf.cast(fits, tf.int32), output_type=tf.int32)
    return kind, tf.cast(head, tf.int64)


def pixels(kind, data, head):
    """Height times width as they are stored.

    Args:
      kind: str, of `KINDS`, not an animated one. data: scalar string.
      head: from `kind_and_head`.

    Returns:
      float64 scalar, 0 if it is not stated.

    Raises:
      tf.errors.InvalidArgumentError: if it is a JPEG without a size.
    """
    return {
        "JPEG": lambda: _area(tf.io.extract_jpeg_shape(data)[:2]),
        "PNG": lambda: _area([_big(head, 16), _big(head, 20)]),
        "BMP": lambda: _bmp(head),
        "WebP": lambda: _webp(head),
        "unknown": lambda: tf.constant(0, tf.float64),
    }[kind]()


def little(numbers, begin, count):
    """int64 from `count` bytes of `numbers` int64 `[n]`, lowest first."""
    powers = tf.constant([1 << 8 * i for i in range(count)], tf.int64)
    return tf.reduce_sum(numbers[begin : begin + count] * powers)


def _big(head, begin):
    return little(head[begin : begin + 4][::-1], 0, 4)


def _area(sides):
    return tf.reduce_prod(tf.cast(sides, tf.float64))


def _bmp(head):
    """Rows from the top down have a negative height."""
    sides = tf.stack([little(head, 18, 4), little(head, 22, 4)])
    return tf.abs(_area(tf.bitcast(tf.cast(sides, tf.uint32), tf.int32)))


def _webp(head):
    """Pixels of lossy, lossless and extended files."""
    sizes = little(head, 21, 4)
    lossy = [little(head, 26, 2) % _WEBP_MASK, little(head, 28, 2) % _WEBP_MASK]
    lossless = [sizes % _WEBP_MASK + 1, sizes // _WEBP_MASK % _WEBP_MASK + 1]
    canvas = [little(head, 24, 3) + 1, little(head, 27, 3) + 1]
    areas = tf.stack([_area(lossy), _area(lossless), _area(canvas)])
    names = np.array([list(b"VP8 "), list(b"VP8L"), list(b"VP8X")])
    is_it = tf.reduce_all(head[12:16] == names, axis=1)
    return tf.reduce_sum(tf.where(is_it, areas, 0))
