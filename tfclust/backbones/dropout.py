"""Dropout whose masks do not depend on the number of replicas.

Replicas keep equal copies of a layer's seed, so that Keras's dropout drops the
same units of each replica's first row, of the second, and so on. Here every
replica draws the masks of the global batch and takes its own rows. The layer
remains a `keras.layers.Dropout`, and a saved backbone knows nothing of this.
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
    """Within, a pass has the rows of `num_views` views, view by view.

    Then replicas drop together what one device would: it has the first view's
    rows of all images first, while a replica's second view follows on its own
    images' first.
    """
    token = _VIEWS.set(num_views)
    try:
        yield
    finally:
        _VIEWS.reset(token)


def over_replicas(dropout):
    """`dropout` itself, drawing for the rows of all replicas.

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
