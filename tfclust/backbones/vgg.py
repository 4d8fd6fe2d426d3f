"""VGG16 with batch norm (Simonyan and Zisserman 2015, arXiv:1409.1556).

Follows facebookresearch/deepcluster `models/vgg16.py` at 1b56bec: torchvision's
`vgg16_bn` without the dropout after fc7, which comes after the features (fc7's
outputs before the ReLU). See `alexnet` for these and for the biases.
"""

import keras
from keras import layers

from tfclust.backbones import front
from tfclust.backbones.alexnet import as_features, dropout, fully_connected
from tfclust.backbones.resnet import ConvNorm

# Convolutions of each block, and their channels.
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


def vgg16_bn(
    *,
    image_size=224,
    image_mean=front.IMAGE_MEAN,
    image_std=front.IMAGE_STD,
    sobel=False,
    synchronized=False,
):
    """VGG16 from images in [0, 1] to the outputs of fc7.

    Arguments are those of `alexnet.alexnet`.

    Returns:
      A functional `keras.Model`, `[B, S, S, 3]` float32 to `[B, 4096]`
      float32.
    """
    conv_norm = ConvNorm(synchronized, bias=True)
    images = front.image_input(image_size)
    x = front.normalized(images, image_mean, image_std, sobel=sobel)
    for stage, (depth, channels) in enumerate(BLOCKS):
        prefix = f"stage{stage}" if stage else "stem"
        for index in range(1, depth + 1):
            x = conv_norm(x, channels, 3, name=f"{prefix}_conv{index}")
        x = layers.MaxPooling2D(2, name=f"{prefix}_pool")(x)
    x = layers.Flatten(name="flat")(x)  # [B, 25088] for 224 pixels
    x = fully_connected(x, name="stage5_fc6")
    x = layers.ReLU(name="fc6_relu")(x)
    x = dropout(x, name="fc7_dropout")
    x = fully_connected(x, name="stage6_fc7")
    return keras.Model(images, as_features(x), name="vgg16_bn")
