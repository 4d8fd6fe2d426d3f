"""AlexNet with batch norm, as DeepCluster and SeLa train it.

Krizhevsky et al. 2012 without its two groups and local response normalisation;
follows facebookresearch/deepcluster `models/alexnet.py` at 1b56bec, which is
also SeLa's "big" network for CIFAR. Convolutions keep a bias, although batch
norm cancels it, so that the number of weights is the published one. Features
are the outputs of fc7 before its ReLU, which DeepCluster clusters; a method
that wants them after a ReLU applies one.
"""

import keras
from keras import layers

from tfclust.backbones import front
from tfclust.backbones.dropout import over_replicas
from tfclust.backbones.resnet import ConvNorm

FEATURES = 4096


def alexnet(
    *,
    image_size=224,
    image_mean=front.IMAGE_MEAN,
    image_std=front.IMAGE_STD,
    sobel=False,
    synchronized=False,
):
    """AlexNet from images in [0, 1] to the outputs of fc7.

    Args:
      image_size: int S >= 63, pixels of height and width.
      image_mean, image_std: three floats each, subtracted from and divided
        into the images.
      sobel: whether the network sees `front.sobel_edges` instead of colours.
      synchronized: whether BN statistics span all replicas.

    Returns:
      A functional `keras.Model`, `[B, S, S, 3]` float32 to `[B, 4096]`
      float32.
    """
    conv_norm = ConvNorm(synchronized, bias=True)
    images = front.image_input(image_size)
    x = front.normalized(images, image_mean, image_std, sobel=sobel)
    # 224 pixels become 55 positions, and 27, 13 and 6 after the poolings.
    x = conv_norm(x, 96, 11, strides=4, padding=2, name="stem_conv")
    x = layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    x = conv_norm(x, 256, 5, name="stage1_conv")
    x = layers.MaxPooling2D(3, strides=2, name="stage1_pool")(x)
    x = conv_norm(x, 384, 3, name="stage2_conv")
    x = conv_norm(x, 384, 3, name="stage3_conv")
    x = conv_norm(x, 256, 3, name="stage4_conv")
    x = layers.MaxPooling2D(3, strides=2, name="stage4_pool")(x)
    x = layers.Flatten(name="flat")(x)  # [B, 9216]
    x = dropout(x, name="fc6_dropout")
    x = fully_connected(x, name="stage5_fc6")
    x = layers.ReLU(name="fc6_relu")(x)
    x = dropout(x, name="fc7_dropout")
    x = fully_connected(x, name="stage6_fc7")
    return keras.Model(images, as_features(x), name="alexnet")


def fully_connected(x, *, name):
    """`[B, C]` -> `[B, 4096]`; weights start with a deviation of 0.01."""
    return layers.Dense(
        FEATURES,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        name=name,
    )(x)


def dropout(x, *, name):
    """`[B, C]`, with half of its entries dropped in training."""
    return over_replicas(layers.Dropout(0.5, name=name))(x)


def as_features(x):
    """Features in float32 under any precision policy."""
    return layers.Identity(dtype="float32", name="features")(x)
