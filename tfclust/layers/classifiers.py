"""Linear classifiers of pseudo-labels."""

import keras
import numpy as np
from keras import layers

from tfclust.layers.dense import FLOAT32, NORMAL_STDDEV, linear, normal_linear


class Classifier(layers.Layer):
    """A linear classifier a head: logits of rows, with biases.

    Args:
      width: int D.
      num_clusters: K of each head.
      start: how weights begin: "uniform" as `torch.nn.Linear`'s, or "normal",
        N(0, 0.01) with biases of 0.
    """

    def __init__(
        self, width, num_clusters, *, start="uniform", name="classifier"
    ):
        super().__init__(name=name, dtype=FLOAT32)
        self.num_heads = len(num_clusters)
        dense = normal_linear if start == "normal" else linear
        for head, count in enumerate(num_clusters):
            layer = dense(count, width, name=f"head_{head}")
            layer.build([None, width])
            setattr(self, f"head_{head}", layer)
        self.built = True

    @property
    def heads(self):
        """The Dense layers in head order."""
        return tuple(
            getattr(self, f"head_{head}") for head in range(self.num_heads)
        )

    def call(self, rows):
        """Logits, a tuple over heads of `[..., K]`."""
        return tuple(head(rows) for head in self.heads)


class MaskedClassifier(layers.Layer):
    """Linear classes of which only the first `num_open` can be chosen.

    Scores of the others are -inf: they have no probability and get no
    gradient, and shapes stay as the number of clusters changes.

    Args:
      width: int D.
      num_classes: int K.
    """

    def __init__(self, width, num_classes, *, name):
        super().__init__(name=name, dtype=FLOAT32)
        self.kernel = self.add_weight(
            shape=(width, num_classes),
            initializer=keras.initializers.RandomNormal(stddev=NORMAL_STDDEV),
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(num_classes,), initializer="zeros", name="bias"
        )
        self.num_open = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(num_classes),
            dtype="int64",
            trainable=False,
            aggregation="only_first_replica",
            name="num_open",
        )
        self.built = True

    def call(self, rows):
        """Scores `[..., K]` of `[..., D]` rows."""
        scores = keras.ops.matmul(rows, self.kernel) + self.bias
        classes = keras.ops.arange(scores.shape[-1], dtype="int64")
        return keras.ops.where(classes < self.num_open, scores, -np.inf)

    def fresh(self, seed):
        """`(variable, value)` pairs of a new start, N(0, 0.01) and bias 0.

        Args:
          seed: int or tuple of ints >= 0.
        """
        generator = np.random.default_rng(seed)
        shape = tuple(self.kernel.shape)
        kernel = generator.standard_normal(shape, np.float32) * NORMAL_STDDEV
        bias = np.zeros(self.bias.shape, np.float32)
        return [(self.kernel, np.float32(kernel)), (self.bias, bias)]
