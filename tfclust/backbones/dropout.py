"""Dropout whose masks do not depend on the number of replicas.

Replicas keep equal copies of a layer's seed, so Keras's dropout drops the same
units in each replica's first row, in the second, and so on. Here every replica
draws the masks of the global batch and takes its own rows. The layer is still a
`keras.layers.Dropout`, so a saved backbone does not depend on this.
"""

import contextlib
import contextvars
import types

import keras
import tensorflow as tf
from keras import layers

from tfclust.runtime import replicas

_VIEWS = contextvars.ContextVar("views", default=1)


@contextlib.contextmanager
def views_in_pass(num_views):
    """A context in which a pass has the rows of `num_views` views, in turn.

    With it, replicas together drop what one device would. One device has the
    first view's rows of all images first; on a replica, the second view follows
    the first view of its own images.
    """
    token = _VIEWS.set(num_views)
    try:
        yield
    finally:
        _VIEWS.reset(token)


def over_replicas(dropout):
    """`dropout` itself, changed to draw for the rows of all replicas.

    Args:
      dropout: a `keras.layers.Dropout` of rows `[B, C]`.
    """
    dropout.call = types.MethodType(_call, dropout)
    return dropout


def _call(self, inputs, training=False):
    count = replicas.num_replicas()
    if not training or self.rate == 0 or count == 1:
        return layers.Dropout.call(self, inputs, training=training)
    num_rows, width = tf.shape(inputs)[0], inputs.shape[1]
    ones = tf.ones([num_rows * count, width], inputs.dtype)
    kept = keras.random.dropout(ones, self.rate, seed=self.seed_generator)
    views = _VIEWS.get()
    kept = tf.reshape(kept, [views, -1, width])  # [V, B, C]
    by_image = tf.transpose(kept, [1, 0, 2])  # [B, V, C]
    return inputs * replicas.own_rows_of_views(by_image, num_rows // views)
