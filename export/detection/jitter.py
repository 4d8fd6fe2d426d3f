"""Where each image lies on its canvas: resized, flipped, moved; and its boxes.

An image is resized with its aspect kept, its longer side to the canvas' times a
random scale, and laid on a square canvas at a random place; what leaves the
canvas is cut. Every random number is a function of (seed, epoch, image).
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

_GREY = 128  # around the image
# A box of which less is left on the canvas is not learnt.
MIN_VISIBLE = 0.3
_KEY = 0x6465  # keeps these numbers apart from the order's


class Placement(NamedTuple):
    """Where one image lies on the canvas."""

    sides: np.ndarray  # int32 [2], height and width after resizing
    begin: np.ndarray  # int32 [2], top and left on the canvas, may be negative
    flip: bool  # left and right exchanged


def whole(size, side):
    """The `Placement` without chance: at the top left, as large as fits.

    Args:
      size: height and width. side: int S of the canvas.
    """
    return Placement(_sides(size, side), np.zeros(2, np.int32), False)


def drawn(size, side, config, key):
    """A random `Placement`.

    Args:
      size: height and width. side: int S of the canvas.
      config: has `flip_probability` and `scale_jitter`, a pair.
      key: sequence of int, what the numbers depend on.
    """
    rng = np.random.default_rng([*key, _KEY])
    low, high = np.log(config.scale_jitter)
    scale = float(np.exp(rng.uniform(low, high)))
    sides = _sides(size, side, scale)
    room = side - sides.astype(np.int64)
    begin = rng.integers(np.minimum(room, 0), np.maximum(room, 0) + 1)
    flip = bool(rng.random() < config.flip_probability)
    return Placement(sides, begin.astype(np.int32), flip)


def placed_boxes(boxes, size, placement, side):
    """Boxes on the canvas, and which are visible enough.

    Args:
      boxes: float `[n, 4]` on the image. size: its height and width.
      placement: `Placement`. side: int S of the canvas.

    Returns:
      float32 `[n, 4]` within the canvas; bool `[n]`.
    """
    height, width = placement.sides
    top, left = placement.begin
    x = boxes[:, [0, 2]] * (width / size[1])
    y = boxes[:, [1, 3]] * (height / size[0])
    if placement.flip:
        x = width - x[:, ::-1]
    moved = np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)
    moved = moved + np.array([left, top, left, top])
    cut = np.clip(moved, 0, side)
    visible = area(cut) >= MIN_VISIBLE * area(moved)
    large = (cut[:, 2:] - cut[:, :2] >= 1).all(axis=1)
    return cut.astype(np.float32), visible & large


def area(boxes):
    """`[n]` from `[n, 4]`."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def canvas(image, sides, begin, flip, side):
    """The canvas with the image on it; traceable.

    Args:
      image: uint8 `[H, W, 3]`. sides, begin: int32 `[2]`. flip: bool.
      side: int S.

    Returns:
      uint8 `[S, S, 3]`.
    """
    small = tf.image.resize(image, sides, antialias=True)
    small = tf.cast(tf.clip_by_value(small, 0, 255) + 0.5, tf.uint8)
    small = tf.cond(flip, lambda: small[:, ::-1], lambda: small)
    first = tf.maximum(-begin, 0)
    last = tf.minimum(side - begin, sides)
    small = small[first[0] : last[0], first[1] : last[1]]
    before = tf.maximum(begin, 0)
    after = side - before - (last - first)
    edges = tf.concat([tf.stack([before, after], axis=1), [[0, 0]]], axis=0)
    laid = tf.pad(small, edges, constant_values=_GREY)
    return tf.ensure_shape(laid, [side, side, 3])


def sides_of(size, side):
    """As `whole`, for sizes int32 `[..., 2]` in a graph: int32 `[..., 2]`."""
    sizes = tf.cast(size, tf.float64)
    longer = tf.maximum(tf.reduce_max(sizes, axis=-1, keepdims=True), 1)
    found = tf.cast(tf.round(sizes * (side / longer)), tf.int32)
    return tf.maximum(found, 1)


def _sides(size, side, scale=1.0):
    sizes = np.asarray(size, np.float64)
    found = np.rint(sizes * (side * scale / sizes.max()))
    return np.maximum(found, 1).astype(np.int32)
