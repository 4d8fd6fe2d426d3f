"""Images with a class a pixel: what is in the masks, and batches of both.

An image is scaled so that its long side is S pixels, in training times a random
factor, and put on a canvas of S x S, which it may leave or not fill. Its mask
goes the same way by the nearest pixel; what the image does not cover is
ignored. Numbers are keyed by (seed, step, row), as in `data.views`.
"""

import functools
import io
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from tfclust.data.views import pipeline, sampling
from tfclust.ops.pixels import as_floats
from tfclust.runtime import parallel

IGNORED = 255
_STEPS_AN_EPOCH = 64  # as in `finetuning`


def mask_of(source, position):
    """uint8 `[H, W]`, the classes of an image's pixels.

    Raises:
      ValueError: if it cannot be read, is no image with a class a pixel, or has
        another size than the image.
    """
    name = source.manifest().names[position]
    try:
        with Image.open(io.BytesIO(source.mask(position))) as image:
            mode, mask = image.mode, np.asarray(image)
    except OSError as error:
        raise ValueError(
            f"{source.uri}: the mask of {name} cannot be read: "
            f"{error.strerror or error}. Mend it, or leave the image out."
        ) from error
    size = int(source.heights[position]), int(source.widths[position])
    if mode not in ("P", "L") or mask.shape != size:
        raise ValueError(
            f"{source.uri}: the mask of {name} must be a PNG of {size[1]} x "
            f"{size[0]} pixels with a class each (palette or grey). Received: "
            f"mode {mode}, shape {mask.shape}."
        )
    return mask


@functools.lru_cache(maxsize=4)
def classes_of(source):
    """The classes that some pixel has, sorted, as a tuple of int.

    Raises:
      ValueError: as `mask_of`, and if no pixel has one.
    """
    found: set = set()
    for position in range(source.num_images):
        found |= set(np.unique(mask_of(source, position)).tolist())
    found -= {IGNORED}
    if not found:
        raise ValueError(
            f"masks must have classes below {IGNORED}. Received: none in "
            f"{source.uri}."
        )
    return tuple(sorted(found))


class MaskedImages:
    """Batches of training images and masks, for `tuning.tune`.

    Args:
      source: `data.Source` with masks.
      size: int S, side of the canvas.
      batch_size: int, at most N.
      scales: smallest and largest random factor on the size.
      seed: int.
    """

    def __init__(self, source, *, size, batch_size, scales, seed):
        self._source, self._size, self._scales = source, size, scales
        self._seed = seed
        self._key = sampling.key_of(seed, "masked images")
        self.batch_size = batch_size
        count = source.num_images
        self._passes = max(1, _STEPS_AN_EPOCH * batch_size // count)
        self.steps_per_epoch = self._passes * count // batch_size

    def batches(self, epoch, *, start_step=0, num_shards=1, shard=0):
        """Dataset of `{"images": uint8 [b, S, S, 3], "masks": [b, S, S]}`."""
        rows = pipeline.rows_of(self.batch_size, num_shards, shard)
        order = tf.constant(self._order(epoch))
        elements = pipeline.pass_rows(
            rows,
            self.steps_per_epoch,
            self.batch_size,
            lambda positions: tf.gather(order, positions),
            start_step=start_step,
            steps_before=epoch * self.steps_per_epoch,
        )

        def drawn(element):
            place = element["step"], element["first_row"]
            numbers = sampling.keyed_uniform(
                self._key, *place, num_rows=rows.num, num_views=1, num_values=4
            )
            others = sampling.replacements(
                self._key,
                *place,
                num_rows=rows.num,
                num_images=self._source.num_images,
            )
            wanted = tf.concat([element["index"][:, None], others], axis=1)
            return wanted, numbers[:, 0]

        def cut(wanted, numbers):
            data, choice = self._source.fetch(wanted)
            return self._cut(data, wanted[choice], numbers)

        elements = parallel.map_plainly(elements, drawn).unbatch()
        images = parallel.map_images(elements, cut)
        images = images.batch(rows.num, drop_remainder=True)
        return parallel.finished(images)

    def inputs(self, batch):
        """Images in [0, 1] and masks of a batch."""
        return as_floats(batch["images"]), batch["masks"]

    def _order(self, epoch):
        """Image indices of an epoch, pass after pass."""
        every = [
            np.random.default_rng([self._seed, epoch, one]).permutation(
                self._source.num_images
            )
            for one in range(self._passes)
        ]
        return np.concatenate(every).astype(np.int64)

    def _cut(self, data, index, numbers):
        image = self._source.fetched(data, index)
        mask = tf.numpy_function(
            lambda i: mask_of(self._source, int(i)),
            [index],
            tf.uint8,
            stateful=False,
        )
        low, high = self._scales
        factor = low + (high - low) * numbers[0]
        place = placed(tf.shape(image)[:2], self._size, factor, numbers[1:3])
        mirrored = numbers[3] < 0.5
        found = on_canvas(image, place, self._size)
        masks = mask_on_canvas(mask, place, self._size)
        return {
            "images": tf.cond(
                mirrored, lambda: tf.reverse(found, [1]), lambda: found
            ),
            "masks": tf.cond(
                mirrored, lambda: tf.reverse(masks, [1]), lambda: masks
            ),
        }


class Placed(NamedTuple):
    """Where an image lies on a canvas: pixel y goes to y * scale - offset."""

    scale: tf.Tensor  # float32 scalar
    offset: tf.Tensor  # float32 [2], of rows and columns


def placed(size, side, factor=1.0, numbers=(0.0, 0.0)):
    """The `Placed` of an image of int `[2]` `size` on a canvas of `side`.

    Args:
      factor: on the scale at which the long side fills the canvas.
      numbers: two in [0, 1): which part of what is too large is seen, and
        where what is too small lies.
    """
    size = tf.cast(size, tf.float32)
    scale = factor * side / tf.reduce_max(size)
    free = size * scale - tf.cast(side, tf.float32)
    return Placed(scale, tf.round(free * tf.cast(numbers, tf.float32)))


def on_canvas(image, place, side):
    """uint8 `[S, S, 3]`: the image, antialiased bilinear, on black."""
    found = tf.raw_ops.ScaleAndTranslate(
        images=image[None],
        size=[side, side],
        scale=tf.stack([place.scale, place.scale]),
        translation=-place.offset,
        kernel_type="triangle",
        antialias=True,
    )[0]
    return tf.ensure_shape(tf.cast(found + 0.5, tf.uint8), [side, side, 3])


def mask_on_canvas(mask, place, side):
    """uint8 `[S, S]`: the classes of the nearest pixels; 255 beyond."""
    axes = []
    for axis in (0, 1):
        centres = tf.range(side, dtype=tf.float32) + 0.5 + place.offset[axis]
        axes.append(tf.cast(tf.floor(centres / place.scale), tf.int32))
    (rows, columns), shape = axes, tf.shape(mask)
    inside = ((rows >= 0) & (rows < shape[0]))[:, None]
    inside &= ((columns >= 0) & (columns < shape[1]))[None]
    found = tf.gather(mask, tf.clip_by_value(rows, 0, shape[0] - 1))
    last = shape[1] - 1
    found = tf.gather(found, tf.clip_by_value(columns, 0, last), axis=1)
    found = tf.where(inside, found, tf.cast(IGNORED, tf.uint8))
    return tf.ensure_shape(found, [side, side])


def whole_images(source, side, batch_size):
    """Batches `(uint8 [b, S, S, 3], index int64 [b])` of all, in order."""

    def cut(index):
        data, _ = source.fetch(index[None])
        image = source.fetched(data, index)
        place = placed(tf.shape(image)[:2], side)
        return on_canvas(image, place, side), index

    indices = tf.data.Dataset.range(source.num_images)
    images = parallel.map_images(indices, cut).batch(batch_size)
    return parallel.finished(images)
