"""The sharpness of codes, fitted to how far scores differ."""

import keras
import tensorflow as tf
from keras import layers

from tfclust.runtime import replicas

_SMALLEST = 1e-4  # at 1e4 times a cosine the log domain still has 3 digits
_KEPT = 0.9  # of the last value, a step


class FittedEpsilon(layers.Layer):
    """Epsilon of balanced codes, a value for each head, `[H]`.

    It follows the spread of the scores, so that codes are as sharp where all
    images score alike as where they do not:

        epsilon = min(largest, share * sigma)

    where sigma is the standard deviation of a batch's scores about the means of
    their image and of their prototype, neither of which changes a code.
    Logarithms are smoothed over about ten steps. Until the first step it is
    `largest`.

    Args:
      num_heads: int H.
      largest: float.
      share: float.
    """

    def __init__(self, num_heads, *, largest, share, name):
        super().__init__(name=name, dtype="float32", trainable=False)
        self.largest, self.share = largest, share
        self.values = self.add_weight(
            shape=(num_heads,),
            initializer=keras.initializers.Constant(largest),
            trainable=False,
            aggregation="only_first_replica",
            name="values",
        )
        self.built = True

    def update(self, scores, step):
        """Takes in a step's scores.

        Args:
          scores: a sequence over heads of `[R, K]`, the replica's rows.
          step: scalar int64, 0 for the first, which is not smoothed.
        """
        spread = tf.stack([spread_of(head) for head in scores])  # [H]
        newest = tf.clip_by_value(self.share * spread, _SMALLEST, self.largest)
        kept = tf.where(step == 0, 0.0, _KEPT)
        logs = kept * tf.math.log(self.values.value)
        logs += (1 - kept) * tf.math.log(newest)
        self.values.assign(tf.exp(logs))


def spread_of(scores):
    """Standard deviation of scores about the means of their row and column.

    Args:
      scores: `[R, K]`, the replica's rows; all replicas have as many.

    Returns:
      Scalar float32, of the rows of all replicas.
    """
    scores = tf.cast(scores, tf.float32)
    count = tf.cast(tf.shape(scores)[0], tf.float32)
    rows = replicas.all_sum(count)
    scores -= tf.reduce_mean(scores, axis=1, keepdims=True)
    scores -= replicas.all_sum(tf.reduce_sum(scores, axis=0)) / rows
    squares = tf.reduce_mean(tf.square(scores)) * count
    return tf.sqrt(replicas.all_sum(squares) / rows)
