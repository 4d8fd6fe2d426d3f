"""Images to look at or to label, spread over clusters and within them."""

import numpy as np

# Farthest first looks at each image of a cluster once per choice, and all
# clusters' are in memory together.
_MOST_OF_CLUSTER, _MOST_OF_ALL = 20_000, 50_000


def pick(features, labels, distance, left_out, count):
    """Chooses images, in the order in which to look at them.

    Clusters take turns, the largest first. A cluster gives the image nearest to
    its centre, and then each time the one farthest from all it has given.

    Args:
      features: `UnitFeatures`. labels: int `[n]`.
      distance: float `[n]`, of each image from its centre.
      left_out: bool `[n]`, images that are chosen only if the others do not
        suffice: near duplicates and outliers.
      count: int.

    Returns:
      int64 positions, at most `count` and `n`.
    """
    chosen: list[int] = []
    for candidates in (np.flatnonzero(~left_out), np.flatnonzero(left_out)):
        clusters = _by_cluster(candidates, labels)
        most = _most_rows(len(candidates), len(clusters), count)
        queues = [
            _farthest_first(features, rows, distance, most) for rows in clusters
        ]
        while queues and len(chosen) < count:
            left = []
            for queue in queues:
                position = next(queue, None)
                if position is not None and len(chosen) < count:
                    chosen.append(position)
                    left.append(queue)
            queues = left
    return np.array(chosen, np.int64)


def _most_rows(num_candidates, num_clusters, count):
    """Images of a cluster that are looked at: all, if there are few in all."""
    if num_candidates <= _MOST_OF_ALL:
        return _MOST_OF_CLUSTER
    # Ten times what each cluster gives if all give alike.
    each = max(_MOST_OF_ALL, 10 * count) // num_clusters
    return min(_MOST_OF_CLUSTER, max(1, each))


def _by_cluster(candidates, labels):
    """Positions of each cluster, the largest cluster first."""
    values, counts = np.unique(labels[candidates], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [candidates[labels[candidates] == k] for k in values[order]]


def _farthest_first(features, rows, distance, most):
    """Yields at most so many positions, the nearest to the centre first."""
    if len(rows) > most:
        rows = rows[np.arange(most) * len(rows) // most]
    chosen = int(np.argmin(distance[rows]))
    yield int(rows[chosen])
    units = features.take(rows)
    nearest = units @ units[chosen]  # cosine to the nearest one chosen
    taken = np.zeros(len(rows), bool)
    taken[chosen] = True
    for _ in range(len(rows) - 1):
        chosen = int(np.argmin(np.where(taken, np.inf, nearest)))
        taken[chosen] = True
        nearest = np.maximum(nearest, units @ units[chosen])
        yield int(rows[chosen])
