"""What k-means does with clusters without rows: two published rules.

Both put an empty cluster (the heir) beside a full one (the donor) and move the
two a little apart; the next pass assigns all rows again.
"""

import numpy as np

_SPLIT_STEP = 1.0 / 1024  # faiss, `split_clusters`
_COPY_STEP = 1e-7  # DeeperCluster


def split_empty(centroids, counts, generator):
    """Gives each empty cluster half of another one, as faiss does.

    The donor is drawn by walking over the clusters, again and again, and taking
    cluster j with probability (counts[j] - 1) / (N - K). Donor and heir move
    apart by a 1024th of each coordinate, alternately up and down.

    Args:
      centroids: `[K, D]` float64 array.
      counts: `[K]` int64 array; sums to N >= K.
      generator: `numpy.random.Generator`.

    Returns:
      New centroids; the arguments stay as they are.

    Source:
      faiss `split_clusters`.
    """
    centroids, counts = centroids.copy(), counts.copy()
    spare = max(1, counts.sum() - len(counts))
    apart = _up_and_down(centroids.shape[1]) * _SPLIT_STEP
    for heir in np.flatnonzero(counts == 0):
        accepted = np.zeros(1, bool)
        while not accepted.any():
            draws = generator.random(len(counts))
            accepted = draws < (counts - 1) / spare
        donor = np.argmax(accepted)
        centroids[heir] = centroids[donor] * (1 + apart)
        centroids[donor] *= 1 - apart
        counts[heir] = counts[donor] // 2
        counts[donor] -= counts[heir]
    return centroids


def copy_random(centroids, counts, generator):
    """Puts each empty cluster beside a random full one, as DeeperCluster does.

    Donors are drawn uniformly, small or large. Donor and heir move apart by
    1e-7 in each coordinate, alternately up and down, which is close to the
    rounding of float32 scores: most rows may stay with one of the two.

    Args:
      centroids: `[K, D]` float64 array.
      counts: `[K]` int64 array with at least one row.
      generator: `numpy.random.Generator`.

    Returns:
      New centroids; the arguments stay as they are.

    Source:
      facebookresearch/DeeperCluster, distributed k-means. Its relabelling of
      half the donor's rows is left out, because the next pass relabels them
      all.
    """
    centroids, counts = centroids.copy(), counts.copy()
    apart = _up_and_down(centroids.shape[1]) * _COPY_STEP
    for heir in np.flatnonzero(counts == 0):
        donor = generator.choice(np.flatnonzero(counts))
        centroids[heir] = centroids[donor] + apart
        centroids[donor] -= apart
        counts[heir] = counts[donor] // 2
        counts[donor] -= counts[heir]
    return centroids


# By the value of k-means' `empty`; "keep" leaves them where they are.
RULES = {"keep": None, "split": split_empty, "copy": copy_random}


def _up_and_down(width):
    """1, -1, 1, ... of length `width`."""
    return np.where(np.arange(width) % 2, -1, 1)
