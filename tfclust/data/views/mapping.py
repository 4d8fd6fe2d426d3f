"""A function over all images of a source, as evaluation sees them."""

import functools

import numpy as np
import tensorflow as tf

from tfclust.data.sources.encoded import telling_lost_images
from tfclust.data.views.passes import evaluation_batches
from tfclust.ops.pixels import as_floats
from tfclust.runtime import sharing


class ImagePass:
    """A function over all images of a source, traced once and run any often.

    One batch of images is in memory at a time, unless all are kept.

    Args:
      function: float32 images `[B, S, S, 3]` in [0, 1], or `[B, 10, S, S, 3]`,
        to a nest of tensors `[B, ...]`; traced without AutoGraph, so it must
        branch on tensors by `tf.cond`.
      source: `Source`.
      image_size: int S, side of the centre crop.
      resize_size: int, short side before the crop; None for
        `default_resize(image_size)`.
      batch_size: int, images in a call.
      keep: whether the images stay in memory for the next run.
      first: int, the index to begin with; a multiple of `batch_size`, so that
        batches are those of a pass over all.
      crops: "centre", or "ten": the corners and the centre, also mirrored.
      strategy: `tf.distribute.Strategy` whose replicas share each batch, in
        whose scope the function's variables were made; None for one device.
        Rows are those of one, in the same order.
    """

    def __init__(
        self,
        function,
        source,
        *,
        image_size,
        resize_size=None,
        batch_size=256,
        keep=False,
        first=0,
        crops="centre",
        strategy=None,
    ):
        count = 1 if strategy is None else strategy.num_replicas_in_sync
        self.source = source
        self._strategy = strategy if count > 1 else None
        whole = min(batch_size, source.num_images) // count * count

        @functools.cache  # a dataset that keeps its images is there once
        def batches(**shards):
            return evaluation_batches(
                source,
                image_size=image_size,
                resize_size=resize_size,
                batch_size=max(count, whole),
                keep=keep,
                first=first,
                crops=crops,
                **shards,
            )

        def compute(images):
            return function(as_floats(images))

        self._batches = batches
        if count > 1:
            self._compute = tf.function(
                lambda images: strategy.run(compute, args=(images,)),
                autograph=False,
            )
            return
        # Batches have one shape. If it were traced at its first call, it would
        # be one more new function at this place, and TensorFlow warns after a
        # few of them.
        self._compute = tf.function(
            compute, autograph=False
        ).get_concrete_function(batches().element_spec["images"])

    @telling_lost_images()
    def run(self):
        """The function's nest as arrays `[N, ...]`, in index order.

        Raises:
          OSError: if images are gone, and their replacements too.
        """
        found = None
        for index, rows in self.batches():
            if found is None:
                found = tf.nest.map_structure(self._whole, rows)
            for whole, part in zip(
                tf.nest.flatten(found), tf.nest.flatten(rows), strict=True
            ):
                whole[index] = part
        return found

    def batches(self):
        """Yields indices `[b]` and the function's nest `[b, ...]`, in order.

        Raises:
          tf.errors.OpError: if images are gone, and their replacements too; see
            `telling_lost_images`.
        """
        strategy = self._strategy
        batches = (
            self._batches()
            if strategy is None
            else sharing.distribute(strategy, self._batches)
        )
        for batch in batches:
            rows = sharing.whole(strategy, self._compute(batch["images"]))
            index = sharing.whole(strategy, batch["index"])
            kept = sharing.whole(strategy, batch["mask"])
            yield index[kept], _chosen(rows, kept)

    def _whole(self, rows):
        return np.empty((self.source.num_images, *rows.shape[1:]), rows.dtype)


def _chosen(rows, kept):
    return tf.nest.map_structure(lambda part: part[kept], rows)
