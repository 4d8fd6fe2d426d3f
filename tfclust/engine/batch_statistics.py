"""The rows over which batch norm takes its statistics, with several replicas.

"global" is the whole batch: Keras's `synchronized`. With "replica" each replica
normalises its own rows, as runs without SyncBN do on each GPU. Keras does not
aggregate the running statistics, so each replica would keep its own, and a
checkpoint those of the first: `join` replaces them with their mean.
"""

import tensorflow as tf
from keras import layers

from tfclust.runtime import replicas

_RUNNING = (
    "moving_mean",
    "moving_variance",
    # Only with `renorm`.
    "moving_stddev",
    "renorm_mean",
    "renorm_stddev",
)


def are_synchronized(group):
    """Whether batch norms of `group` use other replicas' rows."""
    return group == "global" and replicas.num_replicas() > 1


def join(model, group):
    """Replaces running statistics by their mean over replicas.

    Call it in replica context. A running statistic is linear in those of its
    batches, so one mean after several forward passes equals a mean after each.
    Does something only for "replica"; otherwise they are the same already.

    Args:
      model: `keras.Model` whose layers, at any depth, are searched.
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
    """The variables that a step in training mode updates, in fixed order."""
    return [
        getattr(layer, name)
        for layer in model._flatten_layers()
        # A frozen layer updates nothing, and a mean of equal values may round.
        if isinstance(layer, layers.BatchNormalization) and layer.trainable
        for name in _RUNNING
        if hasattr(layer, name)
    ]
