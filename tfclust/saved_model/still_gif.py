"""The first frame of a GIF as a file of its own, in a graph.

TensorFlow's decoder unpacks every frame to return the first one, and a file of
a few megabytes may hold a thousand large frames. It also accepts a file that
ends within its first frame. So we walk the blocks of the file (GIF89a, sections
15 to 27) and leave out what follows the first frame.
"""

import tensorflow as tf

from tfclust.saved_model.stored_sizes import little

_HEADER = 13  # bytes before the colours
_EXTENSION, _IMAGE, _END = 0x21, 0x2C, b"\x3b"
_DESCRIPTION = 10  # bytes before a frame's own colours
# Two or three come before a first frame.
_MOST_EXTENSIONS = 100


def first_frame(data):
    """A GIF with only the first frame, and its place on the screen.

    Args:
      data: scalar string, a GIF.

    Returns:
      float64 scalar, the pixels of the screen that holds the frame; scalar
      string, a GIF as large as the frame; int64 `[4]`, the frame's top and
      left, the screen's height and width.

    Raises:
      tf.errors.InvalidArgumentError: if it ends within its first frame.
    """
    raw = tf.io.decode_raw(data, tf.uint8)
    size = tf.size(raw, out_type=tf.int64)
    chains = _chains(raw)

    def number(place, count=1):
        return little(tf.cast(raw[place : place + count], tf.int64), 0, count)

    def after_colours(place, flags):
        has_own = flags >= 0x80
        return place + tf.where(has_own, 3 * 2 ** (flags % 8 + 1), 0)

    def is_extension(place, count):
        here = tf.minimum(place, size - 1)
        return (number(here) == _EXTENSION) & (count < _MOST_EXTENSIONS)

    def pass_over(place, count):
        sub_blocks = tf.minimum(place + 2, size)
        return tf.cast(chains[sub_blocks], tf.int64) + 1, count + 1

    place = after_colours(tf.constant(_HEADER, tf.int64), number(10))
    place, _ = tf.while_loop(is_extension, pass_over, (place, 0))
    pixels = after_colours(place + _DESCRIPTION, number(place + 9)) + 1
    end = tf.cast(chains[tf.minimum(pixels, size)], tf.int64)
    whole = (number(place) == _IMAGE) & (end < size)
    is_whole = tf.debugging.Assert(whole, ["a GIF without a complete frame"])
    with tf.control_dependencies([is_whole] if is_whole is not None else []):
        place = tf.identity(place)
    left, top = number(place + 1, 2), number(place + 3, 2)
    right, below = left + number(place + 5, 2), top + number(place + 7, 2)
    still = tf.strings.join(
        [
            tf.strings.substr(data, tf.constant(0, tf.int64), place + 1),
            bytes(4),  # left and top
            tf.strings.substr(data, place + 5, end - place - 4),
            _END,
        ]
    )
    height = tf.maximum(number(8, 2), below)
    width = tf.maximum(number(6, 2), right)
    area = tf.cast(height, tf.float64) * tf.cast(width, tf.float64)
    return area, still, tf.stack([top, left, height, width])


def on_screen(still, place):
    """uint8 `[H, W, 3]` from the result of `first_frame`, on white."""
    image = tf.io.decode_gif(still)[0]
    top, left, height, width = tf.unstack(tf.cast(place, tf.int32))
    sides = tf.shape(image)
    below, right = height - top - sides[0], width - left - sides[1]
    return tf.pad(
        image, [[top, below], [left, right], [0, 0]], constant_values=255
    )


def _chains(raw):
    """Where the chain of sub-blocks that starts at each byte ends.

    A sub-block is its length and that many bytes; one of length 0 is the end.
    Each round of the loop doubles the steps taken, until all are at an end.

    Args:
      raw: uint8 `[n]`.

    Returns:
      int32 `[n + 1]`: the position of the 0, or n if there is none.
    """
    size = tf.size(raw)
    places = tf.range(size)
    lengths = tf.cast(raw, tf.int32)
    steps = tf.where(lengths > 0, lengths + 1, 0)
    following = tf.concat([tf.minimum(places + steps, size), [size]], 0)

    def double(_, table):
        further = tf.gather(table, table)
        return tf.reduce_any(further != table), further

    loop = (tf.constant(True), following)
    return tf.while_loop(lambda moved, _: moved, double, loop)[1]
