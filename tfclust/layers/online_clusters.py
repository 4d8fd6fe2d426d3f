"""Clusters that move with every batch."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfclust.ops import online_kmeans
from tfclust.ops.units import unit_vectors


class OnlineClusters(layers.Layer):
    """Clusters of one head that move with every batch.

    `last` and `current` centroids `[D, K]` (of the last epoch's end, and of
    now), `duals` `[K]`, and `counts` `[K]`, the images of this epoch. Both sets
    of centroids start as the same random directions.

    Args:
      width: int D.
      num_clusters: int K.

    Source: CoKe, arXiv:2105.11527; see `ops.online_kmeans` for the rules.
    """

    def __init__(self, width, num_clusters, *, name):
        super().__init__(name=name, dtype="float32", trainable=False)
        shape = (width, num_clusters)
        normal = keras.initializers.RandomNormal(stddev=1.0)
        self.last = self._state("last", shape, normal)
        self.current = self._state("current", shape)
        self.duals = self._state("duals", (num_clusters,))
        self.counts = self._state("counts", (num_clusters,), dtype="int64")
        self.last.assign(unit_vectors(self.last.value, axis=0))
        self.current.assign(self.last)
        self.built = True

    def _state(self, name, shape, initializer="zeros", dtype="float32"):
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            dtype=dtype,
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )

    def assign(self, rows, averaged):
        """Clusters `[B]` int32 of `rows` `[B, D]`, by today's duals.

        Args:
          averaged: scalar bool, whether this epoch counts as one of the mean
            over epochs: rows then go by the last epoch's centroids.
        """
        centroids = tf.where(averaged, self.last.value, self.current.value)
        duals = tf.convert_to_tensor(self.duals)
        return online_kmeans.assign(rows, centroids, duals)

    def update(self, rows, labels, averaged, *, dual_step, min_share):
        """Takes in the global batch `[B, D]` with its clusters `[B]`."""
        duals, centroids, counts = (
            tf.convert_to_tensor(variable)
            for variable in (self.duals, self.current, self.counts)
        )
        duals = online_kmeans.move_duals(
            duals, labels, dual_step=dual_step, min_share=min_share
        )
        means = online_kmeans.move_centroids(
            online_kmeans.RunningMeans(centroids, counts),
            rows,
            labels,
            normalised=tf.logical_not(averaged),
        )
        self.duals.assign(duals)
        self.current.assign(means.centroids)
        self.counts.assign(means.counts)

    def next_epoch(self, averaged=0):
        """What is current becomes the last epoch's; counting starts again.

        Args:
          averaged: int, epochs in the mean over epochs, the ended one included;
            0 for no mean.
        """
        if averaged:
            last, current = self.last.numpy(), self.current.numpy()
            self.current.assign(
                online_kmeans.blend_centroids(last, current, 1.0 / averaged)
            )
        self.last.assign(self.current.numpy())
        self.counts.assign(np.zeros(self.counts.shape, np.int64))
