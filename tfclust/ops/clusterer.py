"""From projections to a cluster: an affine map, unit rows or not, centroids.

One record serves every method, so that `cluster` means the same in a SavedModel
and in `tfclust.cluster`: prototypes have neither mean nor bias, DeepCluster
adds its PCA, SeLa's bias is log r, and CoKe's is the duals.
"""

from typing import NamedTuple

import tensorflow as tf

from tfclust.ops.units import unit_vectors


class Clusterer(NamedTuple):
    """How one head assigns raw projections; None leaves out a step.

    centroids `[E, K]`, whether rows are scaled to unit length, bias `[K]`, mean
    `[D]`, components `[D, E]` (without them E = D). The map comes first:
    (x - mean) @ components, unit rows, @ centroids, + bias.
    """

    centroids: tf.Tensor
    unit_rows: bool = True
    bias: tf.Tensor | None = None
    mean: tf.Tensor | None = None
    components: tf.Tensor | None = None


def scores(clusterer, projections):
    """Scores of raw projections by cluster; larger means nearer.

    Args:
      clusterer: a `Clusterer`.
      projections: `[B, D]` float, as the projector returns them.

    Returns:
      `[B, K]` float32.
    """
    x = tf.cast(projections, tf.float32)
    if clusterer.mean is not None:
        x = x - tf.cast(clusterer.mean, tf.float32)
    if clusterer.components is not None:
        x = x @ tf.cast(clusterer.components, tf.float32)  # [B, E]
    if clusterer.unit_rows:
        x = unit_vectors(x)
    result = x @ tf.cast(clusterer.centroids, tf.float32)  # [B, K]
    if clusterer.bias is not None:
        result = result + tf.cast(clusterer.bias, tf.float32)
    return result


def assign(clusterer, projections):
    """The best cluster of each row and its score.

    Args:
      clusterer: a `Clusterer`.
      projections: `[B, D]` float, as the projector gives them.

    Returns:
      `[B]` int64 clusters and `[B]` float32 scores; the first of equal scores.
    """
    by_cluster = scores(clusterer, projections)
    cluster = tf.argmax(by_cluster, axis=-1, output_type=tf.int64)
    return cluster, tf.reduce_max(by_cluster, axis=-1)
