"""k-means from several starts, of which the tightest counts."""

from sklearn.cluster import kmeans_plusplus

from tfclust.ops.kmeans import kmeans

# Lloyd's iterations converge well before this; `_TOLERANCE` ends them.
_MAX_ITERS = 300
_TOLERANCE = 1e-4


def best_kmeans(rows, num_clusters, num_restarts, seed):
    """The `KMeansResult` with the lowest inertia, which uses no label.

    Args:
      rows: float32 `[N, F]`, of unit length.
      num_clusters: int K, at most N.
      num_restarts: int, starts by k-means++.
      seed: int from 0 to 2**32 - 1, as scikit-learn takes them.
    """
    results = [
        _from_start(rows, num_clusters, (seed + restart) % 2**32)
        for restart in range(num_restarts)
    ]
    return min(results, key=lambda result: float(result.inertia))


def _from_start(rows, num_clusters, seed):
    start, _ = kmeans_plusplus(rows, num_clusters, random_state=seed)
    return kmeans(
        rows,
        num_clusters,
        num_iters=_MAX_ITERS,
        seed=seed,
        initial_centroids=start,
        tolerance=_TOLERANCE,
    )
