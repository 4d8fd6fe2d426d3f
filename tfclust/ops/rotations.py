"""Quarter turns of square images, exact: pixels move and keep their values."""

import tensorflow as tf

NUM_TURNS = 4


def four_rotations(images):
    """Images rotated by 0, 90, 180 and 270 degrees, counter-clockwise.

    Args:
      images: `[n, B, S, S, 3]`, of any type.

    Returns:
      `[4 * n, B, S, S, 3]`: first all as they are, then all rotated once, and
      so on.

    Raises:
      ValueError: if images are not square.

    Source:
      Gidaris et al. 2018, arXiv:1803.07728; Asano et al. 2020,
      arXiv:1911.05371, for SL+Rot.
    """
    height, width = images.shape[2:4]
    if height != width:
        raise ValueError(
            "only square images keep their shape when they are turned. "
            f"Received: {height} x {width} pixels. Give square views."
        )
    across = tf.transpose(images, [0, 1, 3, 2, 4])
    return tf.concat(
        [
            images,
            tf.reverse(across, axis=[2]),
            tf.reverse(images, axis=[2, 3]),
            tf.reverse(across, axis=[3]),
        ],
        axis=0,
    )
