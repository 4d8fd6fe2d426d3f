"""What comes after the features: the projector, and prototypes to compare with.

Heads stay in float32 under mixed precision: they are small, and scores divided
by a temperature of 0.1 are too coarse in half precision.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfclust.ops.units import unit_vectors
from tfclust.runtime import replicas

HEAD_DTYPE = "float32"
NORMAL_STDDEV = 0.01  # of classifiers of DeepCluster, ODC, and SeLa on AlexNet


def projector(
    features_width,
    *,
    hidden_width,
    projection_width,
    hidden_batch_norm=True,
    synchronized=False,
):
    """The two-layer projector of SwAV: linear, BN, ReLU, linear.

    Args:
      features_width: int F, width of the features.
      hidden_width: int; 0 leaves a single linear layer.
      projection_width: int D; 0 returns the features as they are.
      hidden_batch_norm: False leaves BN out.
      synchronized: whether BN statistics span all replicas.

    Returns:
      A functional `keras.Model` of built-in layers, `[B, F]` to raw `[B, D]`.

    Source:
      facebookresearch/swav, `src/resnet50.py`; no BN on the output. Weights and
      biases start uniform in +-1/sqrt(fan-in), as `torch.nn.Linear` does.
    """
    inputs = layers.Input([features_width], dtype=HEAD_DTYPE, name="features")
    x = inputs
    if projection_width == 0:
        x = layers.Identity(dtype=HEAD_DTYPE, name="projections")(x)
        return keras.Model(inputs, x, name="projector")
    if hidden_width:
        x = linear(hidden_width, features_width, name="hidden")(x)
        if hidden_batch_norm:
            x = batch_norm(synchronized, name="hidden_bn")(x)
        x = layers.ReLU(dtype=HEAD_DTYPE, name="hidden_relu")(x)
    fan_in = hidden_width or features_width
    x = linear(projection_width, fan_in, name="projections")(x)
    return keras.Model(inputs, x, name="projector")


def rectifier(features_width):
    """Features without their negative part, instead of a projector.

    Args:
      features_width: int F.

    Returns:
      A functional `keras.Model` without weights, `[B, F]` to `[B, F]`.

    Source:
      SeLa reads AlexNet's fc7 after its ReLU. A ResNet's features are means of
      a ReLU's outputs and stay as they are.
    """
    inputs = layers.Input([features_width], dtype=HEAD_DTYPE, name="features")
    x = layers.ReLU(dtype=HEAD_DTYPE, name="projections")(inputs)
    return keras.Model(inputs, x, name="projector")


def batch_norm(synchronized, *, name):
    """Batch norm of heads, with PyTorch's momentum and epsilon."""
    return layers.BatchNormalization(
        momentum=0.9,
        epsilon=1e-5,
        synchronized=synchronized,
        dtype=HEAD_DTYPE,
        name=name,
    )


def linear(units, fan_in, *, name):
    """A Dense layer that starts as `torch.nn.Linear(fan_in, units)` does."""
    limit = 1.0 / np.sqrt(fan_in)
    return layers.Dense(
        units,
        kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
        bias_initializer=keras.initializers.RandomUniform(-limit, limit),
        dtype=HEAD_DTYPE,
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
        dtype=HEAD_DTYPE,
        name=name,
    )


class Prototypes(layers.Layer):
    """Unit directions `[D, K]`, one set per head, to score projections with.

    A constraint that the optimizer applies after its update keeps learned
    prototypes at unit norm. The source normalises before the forward pass: the
    same trajectory, but here exported weights are normalised too.

    Args:
      width: int D.
      num_clusters: K of each head.
      learned: False holds computed centroids, which no optimizer sees.
    """

    def __init__(self, width, num_clusters, *, learned, name="prototypes"):
        super().__init__(name=name, dtype=HEAD_DTYPE, trainable=learned)
        self.num_heads = len(num_clusters)
        limit = 1.0 / np.sqrt(width)
        for head, count in enumerate(num_clusters):
            kernel = self.add_weight(
                shape=(width, count),
                initializer=keras.initializers.RandomUniform(-limit, limit),
                constraint=_unit_columns if learned else None,
                trainable=learned,
                # The constraint assigns inside a replica; all get one value.
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
    """A linear classifier per head: logits of rows, with biases.

    Args:
      width: int D.
      num_clusters: K of each head.
      start: initial weights: "uniform" as for `torch.nn.Linear`, or "normal",
        N(0, 0.01) with biases of 0.
    """

    def __init__(
        self, width, num_clusters, *, start="uniform", name="classifier"
    ):
        super().__init__(name=name, dtype=HEAD_DTYPE)
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

    Scores of the others are -inf: they have no probability and get no gradient.
    So shapes stay the same when the number of clusters changes.

    Args:
      width: int D.
      num_classes: int K.
    """

    def __init__(self, width, num_classes, *, name):
        super().__init__(name=name, dtype=HEAD_DTYPE)
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


class KeyedDropout(layers.Layer):
    """Dropout whose mask is a function of (seed, step, row, view).

    A repeated step drops the same values, and there is no state to save. In
    backbones, which are saved as Keras models, `backbones.dropout` does the
    same with Keras's own layer.

    Args:
      rate: float in [0, 1), share of values that become 0; the others are
        multiplied by 1 / (1 - rate). Outside training nothing happens.
      key: function without arguments that returns (seed, step, batch_size) when
        a step is traced: int, scalar tensor, and int B of the global batch.
    """

    def __init__(self, rate, key, *, name=None):
        super().__init__(name=name, dtype=HEAD_DTYPE)
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
        # Integers, because XLA draws other floats from the same key.
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


def _unit_columns(kernel):
    return unit_vectors(kernel, axis=0)
