"""Dropout that does not depend on the number of replicas, nor on a state."""

import tensorflow as tf
from keras import layers

from tfclust.layers.dense import FLOAT32
from tfclust.runtime import replicas


class KeyedDropout(layers.Layer):
    """Dropout whose mask is a function of (seed, step, row, view).

    A step that is repeated drops the same, and there is no state to keep. In
    backbones, which are saved as Keras models, `backbones.dropout` does it
    with Keras's own layer.

    Args:
      rate: float in [0, 1), share of values that become 0; the others grow by
        1 / (1 - rate). Outside training nothing happens.
      key: function of no arguments that gives (seed, step, batch_size) when a
        step is traced: int, scalar tensor, and int B of the global batch.
    """

    def __init__(self, rate, key, *, name=None):
        super().__init__(name=name, dtype=FLOAT32)
        self.rate = rate
        self._key = key
        self.built = True

    def call(self, x, training=False):
        """`[n * b, D]` to the same; a replica's b rows, view by view."""
        if not training or not self.rate:
            return x
        seed, step, batch_size = self._key()
        own = batch_size // replicas.num_replicas()
        num_views = x.shape[0] // own
        # Whole numbers: XLA's floats are others of the same key.
        numbers = tf.random.stateless_uniform(
            [batch_size, num_views, x.shape[1]],
            seed=tf.stack(
                [tf.constant(seed, tf.int64), tf.cast(step, "int64")]
            ),
            minval=None,
            maxval=None,
            dtype=tf.int32,
            alg="philox",
        )
        numbers = replicas.own_rows_of_views(numbers, own)  # [n * b, D]
        dropped = numbers < int((self.rate - 0.5) * 2**32)
        return tf.where(dropped, 0.0, x / (1 - self.rate))
