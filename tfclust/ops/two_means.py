"""2-means of a few rows, all restarts at once.

With two clusters, a row's side is the sign of one dot product, so ten restarts
of Lloyd's algorithm are one matrix product per iteration. In NumPy, to give the
same bits each time: the threads of scikit-learn's version add up sums in any
order.
"""

import numpy as np


def two_means(rows, *, num_iters=20, num_starts=10, seed=0):
    """Which of two clusters each row is in, by the best of several starts.

    A start is a random row and a second one drawn by its squared distance to
    the first (k-means++). The result with the smallest sum of squared distances
    is used, the first of equal ones.

    Args:
      rows: `[n, D]` float array, n >= 1.
      num_iters: int >= 1, Lloyd's iterations at most. 20 in ODC.
      num_starts: int >= 1. 10 was scikit-learn's default at the time.
      seed: int or tuple of ints >= 0.

    Returns:
      bool `[n]`, False for the first row's side, so starts that find the same
      two sides give the same answer. All False if all rows are equal.

    Raises:
      ValueError: if `rows` is not rank 2, or has no rows.

    Source:
      ODC, arXiv:2006.10645, and OpenSelfSup's `KMeans(n_clusters=2,
      random_state=0, max_iter=20)`. Differs: own draws; one candidate for the
      second row, where scikit-learn tries two.
    """
    rows = np.asarray(rows, np.float32)
    if rows.ndim != 2 or not len(rows):
        raise ValueError(
            f"rows must be [n, D] with n >= 1. Received: shape {rows.shape}."
        )
    if (rows == rows[0]).all():  # after centring they would differ by rounding
        return np.zeros(len(rows), bool)
    rows = rows - rows.mean(axis=0)  # distances far from 0 cancel
    squares = np.einsum("nd,nd->n", rows, rows)  # [n]
    zeros, ones = _starts(rows, squares, num_starts, seed)  # [R, D] each
    side = np.zeros([len(rows), num_starts], bool)
    for _ in range(num_iters):
        middle = (np.sum(ones**2, axis=1) - np.sum(zeros**2, axis=1)) / 2
        before, side = side, rows @ (ones - zeros).T > middle  # [n, R]
        if np.array_equal(side, before):
            break
        zeros, ones = _means(rows, side, zeros, ones)
    best = side[:, np.argmin(_inertia(rows, side))]
    return best != best[0]


def _starts(rows, squares, num_starts, seed):
    generator = np.random.default_rng(seed)
    first = generator.integers(len(rows), size=num_starts)
    distances = squares[:, None] + squares[first] - 2 * (rows @ rows[first].T)
    distances = np.maximum(distances, 0).astype(np.float64)  # [n, R]
    distances[first, np.arange(num_starts)] = 0
    total = distances.sum(axis=0)
    targets = generator.random(num_starts) * total
    second = [
        np.searchsorted(np.cumsum(column), target, side="right")
        for column, target in zip(distances.T, targets, strict=True)
    ]
    return rows[first], rows[np.minimum(second, len(rows) - 1)]


def _means(rows, side, zeros, ones):
    """Means of both sides for each start; an empty side keeps its mean."""
    sums = side.T.astype(np.float32) @ rows  # [R, D]
    counts = side.sum(axis=0)[:, None]  # [R, 1]
    rest = len(rows) - counts
    ones = np.where(counts, sums / np.maximum(counts, 1), ones)
    # The rows' mean is 0, so the other side's sum is the negative.
    zeros = np.where(rest, -sums / np.maximum(rest, 1), zeros)
    return zeros, ones


def _inertia(rows, side):
    """Sum of squared distances, `[R]`, up to a constant."""
    sums = side.T.astype(np.float32) @ rows  # [R, D]
    squares = np.sum(sums.astype(np.float64) ** 2, axis=1)
    counts = side.sum(axis=0)
    between = 1 / np.maximum(counts, 1) + 1 / np.maximum(len(rows) - counts, 1)
    return -squares * between
