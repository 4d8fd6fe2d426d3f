"""What an encoded image says of its pixels before any is decoded, in a graph.

The first bytes of JPEG, PNG, GIF, BMP and WebP, read by TensorFlow's own
operations, so that a server without Python refuses a picture of a billion
pixels before memory is asked for it.
"""

import tensorflow as tf

JPEG, PNG, GIF, BMP, WEBP = range(5)
UNKNOWN = -1
_FIRST = 30  # bytes that hold every size but a JPEG's


def kind_and_pixels(data):
    """Which kind of image a scalar string begins as, and its pixels.

    Returns:
      int32 scalar, `JPEG` to `WEBP` or `UNKNOWN`; float64 scalar, height times
      width as they are stored (of a GIF, its screen's), 0 where none is told.

    Raises:
      tf.errors.InvalidArgumentError: if it is a JPEG without a size.
    """
    head = tf.strings.substr(data, 0, _FIRST)
    head = tf.io.decode_raw(head, tf.uint8, fixed_length=_FIRST)
    head = tf.cast(head, tf.int64)

    def has(words, begin=0):
        part = head[begin : begin + len(words)]
        return tf.reduce_all(part == list(words))

    is_kind = {
        JPEG: has(b"\xff\xd8\xff"),
        PNG: has(b"\x89PNG"),
        GIF: has(b"GIF8"),
        BMP: has(b"BM"),
        WEBP: has(b"RIFF") & has(b"WEBP", 8),
    }
    kind = tf.constant(UNKNOWN)
    for number, is_it in is_kind.items():
        kind = tf.where(is_it, number, kind)

    def area(height, width):
        return tf.cast(height, tf.float64) * tf.cast(width, tf.float64)

    def of_jpeg():
        return area(*tf.unstack(tf.io.extract_jpeg_shape(data)[:2]))

    def of_bmp():  # rows from the top down have a negative height
        sides = [
            tf.bitcast(tf.cast(little(head, at, 4), tf.uint32), tf.int32)
            for at in (22, 18)
        ]
        return tf.abs(area(*sides))

    pixels = tf.switch_case(
        kind,
        {
            JPEG: of_jpeg,
            PNG: lambda: area(_big(head, 20), _big(head, 16)),
            GIF: lambda: area(little(head, 8, 2), little(head, 6, 2)),
            BMP: of_bmp,
            WEBP: lambda: _webp(head, has, area),
        },
        default=lambda: tf.constant(0, tf.float64),
    )
    return kind, pixels


def little(numbers, begin, count):
    """int64 of so many bytes `numbers` int64 `[n]`, the lowest first."""
    powers = tf.constant([1 << 8 * i for i in range(count)], tf.int64)
    return tf.reduce_sum(numbers[begin : begin + count] * powers)


def _big(head, begin):
    return little(head[begin : begin + 4][::-1], 0, 4)


def _webp(head, has, area):
    """Pixels of lossy, lossless and extended files."""
    lossy = area(
        little(head, 28, 2) % (1 << 14), little(head, 26, 2) % (1 << 14)
    )
    sizes = little(head, 21, 4)
    lossless = area(sizes // (1 << 14) % (1 << 14) + 1, sizes % (1 << 14) + 1)
    canvas = area(little(head, 27, 3) + 1, little(head, 24, 3) + 1)
    first = [has(b"VP8 ", 12), has(b"VP8L", 12), has(b"VP8X", 12)]
    found = tf.constant(0, tf.float64)
    for is_it, pixels in zip(first, (lossy, lossless, canvas), strict=True):
        found = tf.where(is_it, pixels, found)
    return found
