"""Dense layers and batch norm behind the backbone, with PyTorch's start.

They stay in float32 under mixed precision: they are small, and scores divided
by a temperature of 0.1 lose what matters in half precision.
"""

import keras
import numpy as np
from keras import layers

FLOAT32 = "float32"
NORMAL_STDDEV = 0.01  # of classifiers of DeepCluster, ODC, and SeLa on AlexNet


def batch_norm(synchronized, *, name):
    """Batch norm of heads, with PyTorch's momentum and epsilon."""
    return layers.BatchNormalization(
        momentum=0.9,
        epsilon=1e-5,
        synchronized=synchronized,
        dtype=FLOAT32,
        name=name,
    )


def linear(units, fan_in, *, name):
    """A Dense layer that starts as `torch.nn.Linear(fan_in, units)` does."""
    limit = 1.0 / np.sqrt(fan_in)
    return layers.Dense(
        units,
        kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
        bias_initializer=keras.initializers.RandomUniform(-limit, limit),
        dtype=FLOAT32,
        name=name,
    )


def normal_linear(units, fan_in, *, name):
    """As `linear`, with weights from N(0, 0.01), whatever the fan-in, and
    biases of 0.
    """
    return layers.Dense(
        units,
        kernel_initializer=keras.initializers.RandomNormal(
            stddev=NORMAL_STDDEV
        ),
        dtype=FLOAT32,
        name=name,
    )
