"""What sits on the features: the projector, and prototypes to compare with.

Heads stay in float32 under mixed precision: they are small, and scores divided
by a temperature of 0.1 lose what matters in half precision.
"""

import keras
import numpy as np
from keras import layers

_HEAD_DTYPE = "float32"


def projector(
    features_width, *, hidden_width, projection_width, synchronized=False
):
    """The two-layer projector of SwAV: linear, BN, ReLU, linear.

    Args:
      features_width: int F, width of the features.
      hidden_width: int; 0 leaves a single linear layer.
      projection_width: int D; 0 returns the features as they are.
      synchronized: whether BN statistics span all replicas.

    Returns:
      A functional `keras.Model` of built-in layers, `[B, F]` to raw `[B, D]`.

    Source:
      facebookresearch/swav, `src/resnet50.py`; no BN on the output. Weights and
      biases start uniform in +-1/sqrt(fan-in), as `torch.nn.Linear` does.
    """
    inputs = layers.Input([features_width], dtype=_HEAD_DTYPE, name="features")
    x = inputs
    if projection_width == 0:
        x = layers.Identity(dtype=_HEAD_DTYPE, name="projections")(x)
        return keras.Model(inputs, x, name="projector")
    if hidden_width:
        x = linear(hidden_width, features_width, name="hidden")(x)
        x = layers.BatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            synchronized=synchronized,
            dtype=_HEAD_DTYPE,
            name="hidden_bn",
        )(x)
        x = layers.ReLU(dtype=_HEAD_DTYPE, name="hidden_relu")(x)
    fan_in = hidden_width or features_width
    x = linear(projection_width, fan_in, name="projections")(x)
    return keras.Model(inputs, x, name="projector")


def linear(units, fan_in, *, name):
    """A Dense layer that starts as `torch.nn.Linear(fan_in, units)` does."""
    limit = 1.0 / np.sqrt(fan_in)
    return layers.Dense(
        units,
        kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
        bias_initializer=keras.initializers.RandomUniform(-limit, limit),
        dtype=_HEAD_DTYPE,
        name=name,
    )


class Prototypes(layers.Layer):
    """Unit directions `[D, K]`, one set a head, that projections are scored by.

    Learned prototypes are kept at unit norm by a constraint that the optimizer
    applies after its update. The source normalises before the forward pass:
    the same trajectory, but here exported weights are normalised too.

    Args:
      width: int D.
      num_clusters: K of each head.
      learned: False holds computed centroids, which no optimizer sees.
    """

    def __init__(self, width, num_clusters, *, learned, name="prototypes"):
        super().__init__(name=name, dtype=_HEAD_DTYPE, trainable=learned)
        self.num_heads = len(num_clusters)
        limit = 1.0 / np.sqrt(width)
        for head, count in enumerate(num_clusters):
            kernel = self.add_weight(
                shape=(width, count),
                initializer=keras.initializers.RandomUniform(-limit, limit),
                constraint=_unit_columns if learned else None,
                trainable=learned,
                # The constraint assigns inside a replica; all hold one value.
                aggregation="only_first_replica",
                name=f"head_{head}",
            )
            kernel.assign(_unit_columns(kernel))
            setattr(self, f"head_{head}", kernel)
        self.built = True

    @property
    def kernels(self):
        """The `[D, K]` variables in head order."""
        return tuple(
            getattr(self, f"head_{head}") for head in range(self.num_heads)
        )

    def call(self, units):
        """Cosine scores, a tuple over heads of `[..., K]`."""
        return tuple(keras.ops.matmul(units, kernel) for kernel in self.kernels)


class Classifier(layers.Layer):
    """A linear classifier a head: logits of rows, with biases.

    Args:
      width: int D.
      num_clusters: K of each head.
    """

    def __init__(self, width, num_clusters, *, name="classifier"):
        super().__init__(name=name, dtype=_HEAD_DTYPE)
        self.num_heads = len(num_clusters)
        for head, count in enumerate(num_clusters):
            layer = linear(count, width, name=f"head_{head}")
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


def unit_rows(x):
    """Rows of `x` at unit length; a zero row stays zero."""
    # Keras's epsilon is added under the root in float32: 1e-12 of the square.
    return keras.ops.normalize(x, axis=-1, order=2, epsilon=1e-12)


def _unit_columns(kernel):
    return keras.ops.normalize(kernel, axis=0, order=2, epsilon=1e-12)
