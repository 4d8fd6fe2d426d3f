"""Vectors at unit length, in TensorFlow and in NumPy.

Losses and scores take `unit_vectors`, which has a gradient; memories and
k-means, which are NumPy's, take `unit_rows`.
"""

import numpy as np
import tensorflow as tf


def unit_vectors(x, axis=-1):
    """Vectors along an axis scaled to unit length; a vector of zeros stays.

    Args:
      x: float32 tensor.
      axis: int, along which the squares are summed.

    Returns:
      A tensor of the same shape.
    """
    # The bound is on the square: lengths below 1e-12 count as 1e-12. Unlike in
    # `keras.ops.normalize`, the gradient at zero stays finite.
    return tf.math.l2_normalize(x, axis, epsilon=1e-24)


def unit_rows(rows, otherwise=None):
    """NumPy rows scaled to unit length.

    Args:
      rows: `[N, D]` float array.
      otherwise: `[N, D]`, rows that replace rows of zeros; None leaves these
        as they are.

    Returns:
      `[N, D]` array of the type of `rows`.
    """
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units = rows / np.where(norms > 0, norms, 1)
    return units if otherwise is None else np.where(norms > 0, units, otherwise)
