"""What comes before a backbone: its images, normalisation, Sobel's edges."""

import keras
import numpy as np
from keras import layers

IMAGE_MEAN = (0.485, 0.456, 0.406)
# SwAV's first value is 0.228, not the usual 0.229; its weights expect it.
IMAGE_STD = (0.228, 0.224, 0.225)

# Left to right, and top to bottom; DeepCluster, section 4.1.
SOBEL = np.array(
    [
        [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
        [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
    ],
    np.float32,
)


def image_input(size=None):
    """The symbolic images, `[B, H, W, 3]` float32 in [0, 1].

    Args:
      size: pixels of height and width; None takes any.
    """
    return layers.Input([size, size, 3], dtype="float32", name="images")


def normalized(images, image_mean, image_std, *, sobel=False):
    """`(images - mean) / std`, in float32 under any precision policy.

    Args:
      images: `[B, H, W, 3]`.
      image_mean, image_std: three floats each.
      sobel: whether to apply `sobel_edges` afterwards.

    Returns:
      `[B, H, W, 3]`, or `[B, H, W, 2]` with edges.
    """
    x = layers.Rescaling(
        [1 / std for std in image_std],
        [-mean / std for mean, std in zip(image_mean, image_std, strict=True)],
        dtype="float32",
        name="normalized",
    )(images)
    return sobel_edges(x) if sobel else x


def sobel_edges(x):
    """Horizontal and vertical edges of the grey image; nothing is learnt.

    Grey is the mean of the channels, which the one 3x3 convolution computes
    along the way. Its kernel is a constant of the graph and not a variable: no
    optimizer sees it, setting `trainable` does not unfreeze it, and it is saved
    with the graph.

    Args:
      x: `[B, H, W, 3]`, normalised.

    Returns:
      `[B, H, W, 2]`; outside the image there are zeros.

    Source:
      DeepCluster, arXiv:1807.05520, section 4.1, `models/alexnet.py`.
    """
    kernel = np.moveaxis(SOBEL, 0, -1)[:, :, None] / 3  # [3, 3, 1, 2]
    return keras.ops.conv(x, kernel.repeat(3, axis=2), padding="same")
