"""The queue of projections.

Non-trainable weights, so that checkpoints hold it, written with values that
every replica has gathered.
"""

import tensorflow as tf
from keras import layers


class FeatureQueue(layers.Layer):
    """First-in-first-out projections `[Q, D]`, newest first.

    Args:
      rows: int Q, a multiple of the global batch.
      width: int D.

    Source: SwAV, section 4.1. Whether it is full is a counter here, not a
    look at the last slot, so that a true zero row cannot mislead.
    """

    def __init__(self, rows, width, *, name):
        super().__init__(name=name, dtype="float32", trainable=False)
        self.rows = rows
        self.features = self.add_weight(
            shape=(rows, width),
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="features",
        )
        self.filled = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int64",
            trainable=False,
            aggregation="only_first_replica",
            name="filled",
        )
        self.built = True

    def is_full(self):
        """Scalar bool: every row has been written."""
        return self.filled >= self.rows

    def push(self, newest, when):
        """Puts `newest` `[B, D]` in front where scalar bool `when` holds."""
        batch = newest.shape[0]
        kept = self.features[: self.rows - batch]
        moved = tf.concat([newest, kept], axis=0)  # [Q, D]
        self.features.assign(tf.where(when, moved, self.features))
        grown = tf.minimum(self.filled + batch, self.rows)
        self.filled.assign(tf.where(when, grown, self.filled))
