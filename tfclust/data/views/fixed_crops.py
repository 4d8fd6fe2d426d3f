"""Crops of one scale: a random place in the resized image, also mirrored.

AlexNet's augmentation, with which DeepCluster trains its probes: the short side
is resized, the middle square cut out, and a smaller square within it.
"""

import tensorflow as tf

from tfclust.data.views import passes, pipeline, sampling
from tfclust.data.views.sizes import checked_resize
from tfclust.ops.pixels import as_floats
from tfclust.runtime import parallel


class FixedCrops:
    """Batches of a source whose crops have one scale.

    Args:
      source: `Source`.
      image_size: int S, side of the crops.
      resize_size: int R, side of the square they are cut from; None for
        `default_resize(image_size)`.
      batch_size: int B, at most N.
      seed: int; (seed, step) decides every crop.
      moving: whether crops are random; otherwise they are the centres, and
        only the order of the images is random.
    """

    def __init__(
        self,
        source,
        *,
        image_size,
        resize_size=None,
        batch_size,
        seed=0,
        moving=True,
    ):
        self._source, self._size = source, image_size
        self._square = checked_resize(image_size, resize_size)
        self._cut = self._square if moving else image_size
        self._batch_size, self._seed = batch_size, seed
        self._key = sampling.key_of(seed, "fixed crops")
        self._moving = moving
        self.steps_per_epoch = source.num_images // batch_size

    def batches(self, epoch):
        """`{"images", "index", "mask", "step"}` of an epoch's whole batches."""
        rows = pipeline.rows_of(self._batch_size, 1, 0)

        def index_of(positions):
            return sampling.shuffled(
                positions, self._seed, epoch, self._source.num_images
            )

        before = epoch * self.steps_per_epoch
        elements = pipeline.pass_rows(
            rows,
            self.steps_per_epoch,
            self._batch_size,
            index_of,
            steps_before=before,
        )
        whole = tf.ones([rows.num], tf.bool)
        elements = parallel.map_plainly(
            elements, lambda element: {**element, "mask": whole}
        )
        batches = passes.batches_of(
            self._source,
            elements,
            rows,
            self._cut,
            self._square,
            keep_index=False,
        )
        steps = tf.data.Dataset.range(before, before + self.steps_per_epoch)
        return parallel.map_plainly(
            tf.data.Dataset.zip(batches, steps),
            lambda batch, step: {**batch, "step": step},
        )

    def on_device(self, batch):
        """Float32 images `[B, S, S, 3]` in [0, 1] of a batch."""
        images = batch["images"]
        if self._moving:
            images = self._moved(images, batch["step"])
        return as_floats(images)

    def _moved(self, images, step):
        size = self._size
        numbers = sampling.keyed_uniform(
            self._key,
            step,
            tf.constant(0, tf.int64),
            num_rows=self._batch_size,
            num_views=1,
            num_values=4,
        )[:, 0]  # [B, 4]
        places = tf.cast(numbers[:, :2] * (self._square - size + 1), tf.int32)
        # A float32 below 1 may be rounded up to the last place and one.
        places = tf.minimum(places, self._square - size)
        within = tf.range(size)
        down = places[:, :1] + within  # [B, S]
        right = places[:, 1:] + within
        mirrored = numbers[:, 2:3] < 0.5
        right = tf.where(mirrored, right[:, ::-1], right)
        images = tf.gather(images, down, axis=1, batch_dims=1)
        return tf.gather(images, right, axis=2, batch_dims=1)
