"""A source whose images are shrunk once, and kept in memory if they fit.

A few thousand photos of 500 pixels, decoded at each use for crops of 32, cost
more than the steps that learn from them. Shrunk to what the crops need, they
fit in some megabytes.

An image's pixels depend on its file and on `short_side` alone: not on whether
all fit, nor on which is read first. Large JPEGs are decoded at a half, a
quarter or an eighth of their size where twice the short side is left, as
Pillow's `thumbnail` does, then reduced by its antialiased bilinear.
"""

import functools
import time

import numpy as np
import tensorflow as tf

from tfclust.data.sources.base import STORE_LIMIT_BYTES, Source, with_edge
from tfclust.data.views.sizes import stored_bytes, stored_sides
from tfclust.runtime import cores, parallel, progress

_REDUCING_GAP = 2  # pixels that a JPEG keeps for each one after the reduction
_SHARE_OF_MEMORY = 4  # at most a quarter of the computer's


class ShrunkSource(Source):
    """The images of another source with a short side of at most so many pixels.

    Args:
      source: a `Source`, not a stream.
      short_side: int, pixels; smaller images stay as they are.

    Attributes:
      num_bytes: int, memory for all pixels.
      is_kept: whether they are kept, after they have been read once; otherwise
        each is read and shrunk again at each use.
      reading_seconds: float, what reading them has taken; 0 before.
    """

    def __init__(self, source, short_side):
        if source.is_stream:
            raise ValueError(
                "stored_size keeps images for the next epochs, and a stream "
                "has other images then. Received: "
                f"stored_size={short_side}, "
                f"data={source.uri}. Leave stored_size empty."
            )
        sides = source.heights, source.widths
        heights, widths = stored_sides(*sides, short_side)
        manifest = source.manifest()._replace(heights=heights, widths=widths)
        super().__init__(source.uri, manifest)
        self.num_bytes = stored_bytes(*sides, short_side)
        limit = min(STORE_LIMIT_BYTES, cores.memory_bytes() // _SHARE_OF_MEMORY)
        self.is_kept = self.num_bytes <= limit
        self.reading_seconds = 0.0
        self._source, self._short_side = source, short_side
        ratios = _dct_ratios(source, short_side)
        sizes = np.stack([heights, widths], axis=1)  # [N, 2]
        # Of the whole image: one that is decoded at 1/8 ends within a pixel.
        scales = sizes / np.stack(sides, axis=1) * ratios[:, None]
        with tf.device("CPU:0"):
            self._sizes = tf.constant(sizes)
            self._ratios = tf.constant(ratios)
            self._scales = tf.constant(scales, tf.float32)

    def in_words(self):
        """A sentence on what is kept."""
        size = f"{self.num_bytes / 2**20:,.0f} MiB"
        if self.is_kept:
            return (
                "Images are kept in memory once they have been read, "
                f"{self._short_side} pixels on their short side: {size}."
            )
        return (
            f"Images of {self._short_side} pixels on their short side would "
            f"need {size}, too much to keep: each is read at every use. Lower "
            "stored_size."
        )

    def fetch(self, indices, may_fail=False):
        if not self.is_kept:
            return self._source.fetch(indices, may_fail)
        _, missing = self._kept
        present = tf.cast(~tf.gather(missing, indices), tf.int32)
        return tf.constant(""), tf.argmax(present, output_type=tf.int32)

    def fetched(self, data, index, ratio=None):
        del ratio  # full size is small already
        if not self.is_kept:
            return self._shrunk(data, index)
        (pixels, offsets), _ = self._kept
        size = tf.gather(self._sizes, index)  # [2]
        length = 3 * tf.reduce_prod(tf.cast(size, tf.int64))
        part = tf.slice(pixels, [tf.gather(offsets, index)], [length])
        return tf.reshape(part, tf.concat([size, [3]], axis=0))

    def image(self, index, ratio=None):
        data, _ = self.fetch(tf.reshape(index, [1]))
        return self.fetched(data, index, ratio)

    def _fill_store(self):
        shape = (self.num_images, int(self.heights[0]), int(self.widths[0]), 3)
        pixels, _ = self._read_all()
        return with_edge(pixels.reshape(shape))

    @functools.cached_property
    def _kept(self):
        """All pixels in one array and where each image starts; the missing."""
        with tf.init_scope(), tf.device("CPU:0"):
            pixels, offsets = self._read_all()
            found = tf.constant(pixels), tf.constant(offsets)
            return found, tf.constant(self.missing)

    def _read_all(self):
        """uint8 `[num_bytes]`, offsets int64 `[N]`; notes what is missing."""
        began = time.perf_counter()
        lengths = 3 * self.heights.astype(np.int64) * self.widths
        offsets = np.cumsum(lengths) - lengths
        pixels = np.zeros(self.num_bytes, np.uint8)
        images = parallel.map_images(
            tf.data.Dataset.range(self.num_images), self._read
        )
        with progress.line("Reading images", self.num_images) as line:
            for i, (image, found) in enumerate(parallel.finished(images)):
                self.missing[i] = not found
                if found:
                    part = slice(offsets[i], offsets[i] + lengths[i])
                    pixels[part] = image.numpy()
                line.update(1)
        self.reading_seconds += time.perf_counter() - began
        if self.missing.all():
            raise self._source._lost(0, self.num_images - 1)
        return pixels, offsets

    def _read(self, index):
        """The pixels of an image in a row, and whether it could be read."""
        data, choice = self._source.fetch(index[None], may_fail=True)
        found = choice == 0
        image = tf.cond(
            found,
            lambda: tf.reshape(self._shrunk(data, index), [-1]),
            lambda: tf.zeros([0], tf.uint8),
        )
        return image, found

    def _shrunk(self, data, index):
        """uint8 `[H, W, 3]` of an image that the source has fetched."""
        ratio = tf.gather(self._ratios, index)
        image = self._source.fetched(data, index, ratio)
        size = tf.gather(self._sizes, index)

        def reduced():
            small = tf.raw_ops.ScaleAndTranslate(
                images=image[None],
                size=size,
                scale=tf.gather(self._scales, index),
                translation=[0.0, 0.0],
                kernel_type="triangle",
                antialias=True,
            )
            return tf.cast(small[0] + 0.5, tf.uint8)

        same = tf.reduce_all(size == tf.shape(image)[:2])
        small = tf.cond(same, lambda: image, reduced)
        return tf.ensure_shape(small, [None, None, 3])


def _dct_ratios(source, short_side):
    """By how much each JPEG is decoded smaller, int32 `[N]`."""
    room = np.minimum(source.heights, source.widths) // (
        _REDUCING_GAP * short_side
    )
    ratios = np.select([room >= 8, room >= 4, room >= 2], [8, 4, 2], 1)
    return np.where(source.jpeg, ratios, 1).astype(np.int32)
