"""Directions that projections are scored by."""

import keras
import numpy as np
from keras import layers

from tfclust.layers.dense import FLOAT32
from tfclust.ops.units import unit_vectors


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
        super().__init__(name=name, dtype=FLOAT32, trainable=learned)
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


def _unit_columns(kernel):
    return unit_vectors(kernel, axis=0)
