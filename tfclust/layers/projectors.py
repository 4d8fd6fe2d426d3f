"""From features to projections, for methods that share a projector."""

import keras
from keras import layers

from tfclust.layers.dense import FLOAT32, batch_norm, linear


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
    inputs = layers.Input([features_width], dtype=FLOAT32, name="features")
    x = inputs
    if projection_width == 0:
        x = layers.Identity(dtype=FLOAT32, name="projections")(x)
        return keras.Model(inputs, x, name="projector")
    if hidden_width:
        x = linear(hidden_width, features_width, name="hidden")(x)
        if hidden_batch_norm:
            x = batch_norm(synchronized, name="hidden_bn")(x)
        x = layers.ReLU(dtype=FLOAT32, name="hidden_relu")(x)
    fan_in = hidden_width or features_width
    x = linear(projection_width, fan_in, name="projections")(x)
    return keras.Model(inputs, x, name="projector")


def rectifier(features_width):
    """Features without their negative part, in a projector's place.

    Args:
      features_width: int F.

    Returns:
      A functional `keras.Model` without weights, `[B, F]` to `[B, F]`.

    Source:
      SeLa reads AlexNet's fc7 behind its ReLU; features of a ResNet, means of
      what a ReLU gave, stay as they are.
    """
    inputs = layers.Input([features_width], dtype=FLOAT32, name="features")
    x = layers.ReLU(dtype=FLOAT32, name="projections")(inputs)
    return keras.Model(inputs, x, name="projector")
