"""Dropout whose masks do not depend on the number of replicas.

Replicas keep equal copies of a layer's seed, so that Keras's dropout drops the
same units of each replica's first row, of the second, and so on. Here every
replica draws the masks of the global batch and takes its own rows. The layer
remains a `keras.layers.Dropout`, and a saved backbone knows nothing of this.
"""

import types

import keras
import tensorflow as tf
from keras import layers

from tfclust.ops import replicas


def over_replicas(dropout):
    """`dropout` itself, drawing for the rows of all replicas.

    With one view of a size in a step, replicas drop together what one device
    would; with several views rows lie in another order, and masks differ from
    one device's but not in their distribution.

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
    return inputs * replicas.own_rows(kept, num_rows)
