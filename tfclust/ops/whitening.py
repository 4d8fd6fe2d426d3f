"""PCA with whitening, fitted on all rows in blocks.

What DeepCluster does to features before it clusters them. Covariance and
eigenvectors are float64; rows stay as they are, in host memory.
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg

_BLOCK_ROWS = 8192
# A direction with a smaller share of the largest variance holds only the
# rounding of float32 features, which whitening would amplify.
_SMALLEST_SHARE = 1e-10


class Whitening(NamedTuple):
    """x becomes (x - mean) @ components; mean `[D]`, components `[D, E]`.

    Both are float32. Over the fitted rows each new column has mean 0 and
    variance 1, and no two columns correlate.
    """

    mean: np.ndarray
    components: np.ndarray


def fit_whitening(rows, width, *, block_rows=_BLOCK_ROWS):
    """The `width` directions of the largest variance, each scaled to 1.

    With C the covariance of the rows (divided by N - 1), u its unit
    eigenvectors and l its eigenvalues in falling order, component j is u_j *
    l_j^-1/2. The entry of u with the largest absolute value is positive, so the
    same rows always give the same signs. A direction without variance (less
    than 1e-10 of the largest) becomes a component of zeros.

    Args:
      rows: `[N, D]` float array.
      width: int E, at most D and less than N.
      block_rows: int, rows converted to float64 at once.

    Returns:
      `Whitening`.

    Raises:
      ValueError: if `rows` is not rank 2 or not finite, or `width` leaves its
        bounds.

    Source:
      DeepCluster's faiss `PCAMatrix` with eigen_power -0.5; equals
      scikit-learn's `PCA(width, whiten=True)` except for signs.
    """
    _check(rows, width)
    mean = np.mean(rows, axis=0, dtype=np.float64)  # [D]
    covariance = np.zeros([rows.shape[1]] * 2)
    for first in range(0, len(rows), block_rows):
        block = rows[first : first + block_rows] - mean  # float64
        covariance += block.T @ block
    covariance /= len(rows) - 1
    if not np.isfinite(covariance).all():
        raise ValueError(
            "rows must be finite. Received: nan or inf in them. Look for a "
            "diverged backbone."
        )
    last = rows.shape[1] - 1
    values, vectors = linalg.eigh(
        covariance, subset_by_index=[last - width + 1, last]
    )  # rising
    values, vectors = values[::-1], vectors[:, ::-1]  # [E], [D, E]
    columns = np.arange(width)
    largest = vectors[np.argmax(np.abs(vectors), axis=0), columns]
    kept = values > _SMALLEST_SHARE * max(values[0], np.finfo(np.float32).tiny)
    scale = np.where(kept, np.maximum(values, 1e-300) ** -0.5, 0.0)
    components = vectors * np.sign(largest) * scale
    return Whitening(
        np.asarray(mean, np.float32), np.asarray(components, np.float32)
    )


def whiten(whitening, rows, *, block_rows=_BLOCK_ROWS):
    """`(rows - mean) @ components`, `[N, E]` float32, in blocks."""
    result = np.empty([len(rows), whitening.components.shape[1]], np.float32)
    for first in range(0, len(rows), block_rows):
        block = rows[first : first + block_rows] - whitening.mean
        result[first : first + block_rows] = block @ whitening.components
    return result


def _check(rows, width):
    if rows.ndim != 2:
        raise ValueError(
            f"rows must be [N, D]. Received: shape {rows.shape}. Flatten or "
            "pool what comes after the first axis."
        )
    most = min(rows.shape[1], len(rows) - 1)
    if not 1 <= width <= most:
        raise ValueError(
            f"{len(rows)} rows of {rows.shape[1]} values have at most {most} "
            f"directions of variance. Received: width={width}. Take {most} or "
            "fewer."
        )
