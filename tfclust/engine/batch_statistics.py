"""Whose rows batch norm takes its statistics of, under several replicas.

"global" is the whole batch: Keras's `synchronized`. With "replica" each
replica normalises its own rows, as runs without SyncBN do on each GPU. Keras
gives the running statistics no aggregation, so each replica would keep its
own, and a checkpoint those of the first: `join` makes them their mean again.
"""

import tensorflow as tf
from keras import layers

from tfclust.runtime import replicas

_RUNNING = (
    "moving_mean",
    "moving_variance",
    # With `renorm` alone.
    "moving_stddev",
    "renorm_mean",
    "renorm_stddev",
)


def are_synchronized(group):
    """Whether batch norms of `group` look at other replicas."""
    return group == "global" and replicas.num_replicas() > 1


def join(model, group):
    """Running statistics become their mean over replicas; in replica context.

    A running statistic is linear in those of its batches, so that this after
    some forward passes equals a mean at each. Only for "replica": else they
    are the same already.

    Args:
      model: `keras.Model` whose layers at any depth are looked at.
      group: "global" or "replica".
    """
    count = replicas.num_replicas()
    if group != "replica" or count == 1:
        return
    variables = _running(model)
    if not variables:
        return
    flat = [tf.reshape(tf.cast(v, tf.float32), [-1]) for v in variables]
    # One collective for all of them.
    mean = replicas.all_sum(tf.concat(flat, axis=0)) / count
    parts = tf.split(mean, [part.shape[0] for part in flat])
    for variable, part in zip(variables, parts, strict=True):
        variable.assign(tf.reshape(part, variable.shape))


def _running(model):
    """The variables that a step in training mode moves, in fixed order."""
    return [
        getattr(layer, name)
        for layer in model._flatten_layers()
        # A frozen one moves nothing, and a mean of equals may round.
        if isinstance(layer, layers.BatchNormalization) and layer.trainable
        for name in _RUNNING
        if hasattr(layer, name)
    ]
