"""ResNet-18, 34 and 50 (He et al. 2016, arXiv:1512.03385).

Follows torchvision's `resnet.py`, which SwAV trains: in a bottleneck the 3x3
convolution has the stride ("v1.5"), convolutions are initialised He-normal over
the fan-out, and batch norm keeps 0.9 of its running statistics, with epsilon
1e-5. The width multiplies the channels of every convolution, including the
stem's, as in SwAV's `resnet50w2`. The small-image stem (3x3, stride 1, no
pooling) is SimCLR's, appendix B.9. Differs from torchvision in the running
variance, which Keras keeps biased.
"""

from typing import NamedTuple

import keras
from keras import layers

from tfclust.backbones import front
from tfclust.backbones.fused import fuse

STEM_WIDTH = 64


class Architecture(NamedTuple):
    """Blocks of each stage, and whether they are bottlenecks."""

    depths: tuple[int, ...]
    bottleneck: bool


ARCHITECTURES = {
    "resnet18": Architecture((2, 2, 2, 2), bottleneck=False),
    "resnet34": Architecture((3, 4, 6, 3), bottleneck=False),
    "resnet50": Architecture((3, 4, 6, 3), bottleneck=True),
}


class ConvNorm(NamedTuple):
    """Convolution and batch norm as every block uses them.

    synchronized: whether BN statistics span all replicas. zero_init_residual:
    whether a block's last gamma starts at 0, so that it starts as identity.
    even_padding: whether a strided convolution is padded on all four sides, as
    in the papers, or only where TensorFlow needs it, which saves a copy. bias:
    whether convolutions have one; batch norm cancels it.
    """

    synchronized: bool = False
    zero_init_residual: bool = False
    even_padding: bool = True
    bias: bool = False

    def __call__(
        self,
        x,
        filters,
        size,
        *,
        name,
        strides=1,
        padding=None,
        relu=True,
        ends_block=False,
    ):
        """`[B, H, W, C]` -> `[B, ceil(H / strides), ..., filters]`.

        padding: zeros on each of the four sides of a strided convolution,
        instead of any other padding; None for half of `size`.
        """
        explicit = self.even_padding and size > 1 and strides > 1
        if explicit:
            # "same" would pad even sizes on their far sides only.
            border = size // 2 if padding is None else padding
            x = layers.ZeroPadding2D(border, name=f"{name}_pad")(x)
        x = layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding="valid" if explicit else "same",
            use_bias=self.bias,
            kernel_initializer=keras.initializers.VarianceScaling(
                2.0, mode="fan_out", distribution="untruncated_normal"
            ),
            name=name,
        )(x)
        zero = ends_block and self.zero_init_residual
        batch_norm = layers.BatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            gamma_initializer="zeros" if zero else "ones",
            synchronized=self.synchronized,
            name=f"{name}_bn",
        )
        x = fuse(batch_norm)(x)
        return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def resnet(
    name,
    *,
    width=1,
    small_images=False,
    image_mean=front.IMAGE_MEAN,
    image_std=front.IMAGE_STD,
    sobel=False,
    synchronized=False,
    zero_init_residual=False,
):
    """A ResNet from images in [0, 1] to pooled features.

    Args:
      name: a key of `ARCHITECTURES`.
      width: int, multiplies the channels of every convolution.
      small_images: whether the stem is one 3x3 convolution, without pooling.
      image_mean, image_std: three floats each, subtracted from and divided
        into the images.
      sobel: whether the network sees `front.sobel_edges` instead of colours.
      synchronized: whether BN statistics span all replicas.
      zero_init_residual: whether each block starts as the identity.

    Returns:
      A functional `keras.Model`, `[B, H, W, 3]` float32 to `[B, F]` float32.
    """
    architecture = ARCHITECTURES[name]
    conv_norm = ConvNorm(synchronized, zero_init_residual)
    block = bottleneck_block if architecture.bottleneck else basic_block
    images = front.image_input()
    x = front.normalized(images, image_mean, image_std, sobel=sobel)
    if small_images:
        x = conv_norm(x, STEM_WIDTH * width, 3, name="stem_conv")
    else:
        x = conv_norm(x, STEM_WIDTH * width, 7, strides=2, name="stem_conv")
        # After a ReLU a border of zeros acts like the paper's border of -inf.
        x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        x = layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    for stage, depth in enumerate(architecture.depths, start=1):
        channels = STEM_WIDTH * width * 2 ** (stage - 1)
        for index in range(depth):
            strides = 2 if stage > 1 and index == 0 else 1
            prefix = f"stage{stage}_block{index + 1}"
            x = block(conv_norm, x, channels, strides=strides, name=prefix)
    return keras.Model(images, pooled(x), name=name)


def basic_block(conv_norm, x, channels, *, strides, name):
    """Two 3x3 convolutions beside a shortcut."""
    shortcut = _shortcut(conv_norm, x, channels, strides, name)
    x = conv_norm(x, channels, 3, strides=strides, name=f"{name}_conv1")
    x = conv_norm(
        x, channels, 3, relu=False, ends_block=True, name=f"{name}_conv2"
    )
    return _add(x, shortcut, name)


def bottleneck_block(conv_norm, x, channels, *, strides, name):
    """1x1 down to `channels`, 3x3 with the stride, 1x1 up to four times."""
    shortcut = _shortcut(conv_norm, x, 4 * channels, strides, name)
    x = conv_norm(x, channels, 1, name=f"{name}_conv1")
    x = conv_norm(x, channels, 3, strides=strides, name=f"{name}_conv2")
    x = conv_norm(
        x, 4 * channels, 1, relu=False, ends_block=True, name=f"{name}_conv3"
    )
    return _add(x, shortcut, name)


def pooled(x):
    """Features: the mean over positions, in float32 under any policy."""
    return layers.GlobalAveragePooling2D(dtype="float32", name="features")(x)


def _shortcut(conv_norm, x, channels, strides, name):
    if strides == 1 and x.shape[-1] == channels:
        return x
    return conv_norm(
        x, channels, 1, strides=strides, relu=False, name=f"{name}_shortcut"
    )


def _add(x, shortcut, name):
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=f"{name}_out")(x)
