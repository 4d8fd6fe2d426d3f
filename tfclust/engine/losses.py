"""Losses per example, and their one mean over the global batch."""

from typing import NamedTuple

import tensorflow as tf

from tfclust.runtime import replicas


class ExampleLosses(NamedTuple):
    """Losses and weights of the same shape, which ends in the batch axis."""

    loss: tf.Tensor
    weight: tf.Tensor


def global_mean(losses, penalties=()):
    """This replica's part of the weighted mean over the global batch.

    Keras sums gradients over replicas, so the loss is the sum of these parts.

    Args:
      losses: `ExampleLosses`, or a tuple of several, whose means are added.
      penalties: scalars that are the same on every replica, such as those of a
        backbone's regularizers.

    Returns:
      Scalar float32.
    """
    terms = [losses] if isinstance(losses, ExampleLosses) else losses
    mean = tf.add_n([_part(term) for term in terms])
    if not penalties:
        return mean
    return mean + tf.add_n(penalties) / replicas.num_replicas()


def _part(losses):
    weight = replicas.all_sum(tf.reduce_sum(losses.weight))
    weighted = tf.reduce_sum(losses.loss * losses.weight)
    return tf.math.divide_no_nan(weighted, weight)
