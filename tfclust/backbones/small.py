"""A backbone for CPU recipes: a 3x3 stem and three residual blocks.

Channels 32 | 32, 64, 128, each block with stride 2: 308,448 weights, 309,856
with the running statistics. An image of 32 pixels ends as 4x4 positions.
"""

import keras

from tfclust.backbones import front, resnet

STEM_CHANNELS = 32
STAGE_CHANNELS = (32, 64, 128)


def small(
    *,
    width=1,
    image_mean=front.IMAGE_MEAN,
    image_std=front.IMAGE_STD,
    sobel=False,
    synchronized=False,
    zero_init_residual=False,
):
    """The small backbone, `[B, H, W, 3]` in [0, 1] to `[B, 128 * width]`.

    Arguments are those of `resnet.resnet`.
    """
    conv_norm = resnet.ConvNorm(
        synchronized, zero_init_residual, even_padding=False
    )
    images = front.image_input()
    x = front.normalized(images, image_mean, image_std, sobel=sobel)
    x = conv_norm(x, STEM_CHANNELS * width, 3, name="stem_conv")
    for stage, channels in enumerate(STAGE_CHANNELS, start=1):
        x = resnet.basic_block(
            conv_norm,
            x,
            channels * width,
            strides=2,
            name=f"stage{stage}_block1",
        )
    return keras.Model(images, resnet.pooled(x), name="small")
