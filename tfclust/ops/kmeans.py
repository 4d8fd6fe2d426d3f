"""k-means, spherical and Euclidean, in blocks of rows and over replicas.

Spherical follows facebookresearch/swav `main_deepclusterv2.py` at 06b1b7c,
Euclidean is Lloyd's; `empty="split"` is the rule of faiss, which DeepCluster's
clustering rests on. Rows lie on the strategy's devices, split over its
replicas; per pass only the sums and counts of clusters come to the host, where
centroids are updated in float64.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust.ops import replicas

# Scores of a block: 4M floats stay near the cache and still fill the cores.
_BLOCK_SCORES = 2**22
_SMALLEST_BLOCK = 1024
_SPLIT_STEP = 1.0 / 1024  # faiss, `split_clusters`


class KMeansResult(NamedTuple):
    """What k-means found; NumPy arrays.

    centroids `[K, D]` float32, pseudo_labels `[N]` int32 of the last
    assignment, inertia float (sum of squared distances of rows to their
    centroid), num_iters int passes made, counts `[K]` int64 rows by cluster.
    """

    centroids: np.ndarray
    pseudo_labels: np.ndarray
    inertia: float
    num_iters: int
    counts: np.ndarray


def spherical_kmeans(
    rows,
    num_clusters,
    *,
    num_iters,
    seed=None,
    initial_centroids=None,
    empty="keep",
    block_rows=None,
    strategy=None,
):
    """Clusters by cosine: each pass assigns, averages, brings to unit length.

    An iteration gives every row to the centroid of the largest dot product and
    puts each centroid at the unit vector of its rows' mean; a last assignment
    follows. A mean of zero keeps its centroid.

    Args:
      rows: `[N, D]` float array or tensor; brought to unit length.
      num_clusters: int K <= N.
      num_iters: int >= 1, passes. 10 in DeepCluster-v2.
      seed: int or tuple of ints >= 0; draws the start and the splits.
      initial_centroids: `[K, D]`, or None for K distinct random rows.
      empty: "keep" leaves the centroid of an empty cluster where it is
        (DeepCluster-v2), "split" halves another cluster (faiss).
      block_rows: int, rows scored at once; None: as many as fit the cache.
      strategy: a `tf.distribute.Strategy` whose replicas share the rows; None
        for the one in scope. Every process passes the same rows.

    Returns:
      `KMeansResult`, the same bits at every call on one machine; on another
      number of replicas the same but for float32 rounding.

    Raises:
      ValueError: if an argument is out of its bounds or rows are not finite.

    Source:
      DeepCluster-v2, arXiv:2006.09882, appendix D, `cluster_memory`.
    """
    rows = _rows(rows, num_clusters, num_iters, empty)
    start = _start(rows, num_clusters, seed, initial_centroids)
    return _lloyd(
        _unit(rows),
        _unit(start).numpy(),
        means=_unit_means,
        score_bias=lambda centroids: np.zeros(len(centroids)),
        num_iters=num_iters,
        tolerance=0.0,
        split=_splitter(empty, seed, _unit_split),
        strategy=strategy,
        block_rows=block_rows,
    )


def kmeans(
    rows,
    num_clusters,
    *,
    num_iters,
    seed=None,
    initial_centroids=None,
    tolerance=0.0,
    empty="keep",
    block_rows=None,
    strategy=None,
):
    """Clusters by Euclidean distance (Lloyd).

    Stops early when no centroid moves, or all together by less than
    `tolerance` allows. Works on rows minus their mean, as scikit-learn does,
    because float32 distances far from the origin cancel.

    Args:
      rows: `[N, D]` float array or tensor.
      num_clusters: int K <= N.
      num_iters: int >= 1, passes at most. 20 in DeepCluster.
      seed: int or tuple of ints >= 0; draws the start and the splits.
      initial_centroids: `[K, D]`, or None for K distinct random rows.
      tolerance: float >= 0; stop once the squared shifts of the centroids sum
        to at most this share of the mean variance of a column.
      empty: "keep" leaves the centroid of an empty cluster where it is,
        "split" halves another cluster (faiss).
      block_rows: int, rows scored at once; None: as many as fit the cache.
      strategy: as in `spherical_kmeans`.

    Returns:
      `KMeansResult`, the same bits at every call on one machine; on another
      number of replicas the same but for float32 rounding.

    Raises:
      ValueError: if an argument is out of its bounds or rows are not finite.

    Source:
      Lloyd 1982; stopping rule as scikit-learn's `KMeans`. Differs: empty
      clusters are not moved to the farthest row.
    """
    if not tolerance >= 0:
        raise ValueError(
            "tolerance must be a float of at least 0. Received: "
            f"tolerance={tolerance}. 0 stops when nothing moves."
        )
    rows = _rows(rows, num_clusters, num_iters, empty)
    start = _start(rows, num_clusters, seed, initial_centroids)
    centre = tf.reduce_mean(rows, axis=0)  # [D]
    rows = rows - centre
    if tolerance:
        tolerance *= float(tf.reduce_mean(tf.math.reduce_variance(rows, 0)))
    centre = centre.numpy()
    result = _lloyd(
        rows,
        start - centre,
        means=_means,
        # |x - c|^2 is least where x.c - |c|^2 / 2 is largest.
        score_bias=lambda centroids: -0.5 * (centroids**2).sum(axis=1),
        num_iters=num_iters,
        tolerance=tolerance,
        split=_splitter(
            empty, seed, lambda c, signs: _split_signed(c + centre, signs) - centre
        ),
        strategy=strategy,
        block_rows=block_rows,
    )
    return result._replace(centroids=result.centroids + centre)


def random_rows(rows, num_rows, *, seed):
    """Distinct rows drawn at random, the start of k-means.

    Args:
      rows: `[N, D]` array or tensor.
      num_rows: int <= N.
      seed: int or tuple of ints >= 0.

    Returns:
      `[num_rows, D]` float32 array.
    """
    chosen = _generator(seed).choice(len(rows), num_rows, replace=False)
    if isinstance(rows, np.ndarray):
        return np.asarray(rows[chosen], np.float32)
    return tf.cast(tf.gather(rows, chosen), tf.float32).numpy()
