"""Three ways to group rows, with one kind of result.

Labels are consecutive over groups that have rows, so that no label names an
empty group; a row may have no label.
"""

from typing import NamedTuple

import numpy as np
from sklearn.cluster import HDBSCAN

from tfclust.ops.kmeans import kmeans
from tfclust.ops.power_iteration import power_iteration_clustering

# HDBSCAN compares all pairs of rows: 10,000 rows of 16 values take 4 s on one
# core, 100,000 some 8 min.
HDBSCAN_MOST_ROWS = 100_000
# Beyond this, distances to neighbours and to other rows hardly differ, and
# everything is noise.
HDBSCAN_MOST_WIDTH = 64


class Groups(NamedTuple):
    """pseudo_labels `[N]` int32 in [-1, C), -1 for none; centroids `[C, D]`.

    Every group 0..C-1 has at least one row. Centroids are float32.
    """

    pseudo_labels: np.ndarray
    centroids: np.ndarray


def kmeans_groups(rows, num_clusters, *, num_iters, empty, seed, strategy):
    """k-means without the clusters that its last assignment left empty.

    Arguments are those of `kmeans`; the centroids are those to which rows were
    assigned, so the nearest one is a row's label.
    """
    result = kmeans(
        rows,
        num_clusters,
        num_iters=num_iters,
        empty=empty,
        seed=seed,
        strategy=strategy,
    )
    filled = result.counts > 0
    number = np.cumsum(filled) - 1  # of a filled cluster among the filled
    labels = number[result.pseudo_labels].astype(np.int32)
    return Groups(labels, result.centroids[filled])


def graph_groups(rows, most_groups, *, seed):
    """Power iterations on a graph of 5 neighbours, as DeepCluster sets them.

    Args:
      rows: `[N, D]` float array of unit rows.
      most_groups: int, see `mean_groups`.
      seed: int or tuple of ints >= 0.

    Returns:
      `Groups`; every row has a label unless there are too many groups.

    Source:
      Caron et al. 2018, arXiv:1807.05520, appendix.
    """
    found = power_iteration_clustering(rows, seed=seed)
    return mean_groups(rows, found.pseudo_labels, most_groups)


def density_groups(rows, most_groups, *, min_cluster_size):
    """HDBSCAN: dense regions are groups, the rest is noise without a label.

    Args:
      rows: `[N, D]` float array, N at most 100,000 and D at most 64.
      most_groups: int, see `mean_groups`.
      min_cluster_size: int >= 2, rows that make a group.

    Returns:
      `Groups`; the same at every call.

    Raises:
      ValueError: if rows are too many or too wide, or all are noise.

    Source:
      Campello et al. 2013, by `sklearn.cluster.HDBSCAN`.
    """
    check_density(len(rows), rows.shape[1])
    found = HDBSCAN(min_cluster_size=min_cluster_size, copy=True).fit(rows)
    if found.labels_.max() < 0:
        raise ValueError(
            f"HDBSCAN calls all {len(rows)} rows noise. Received: "
            f"min_cluster_size={min_cluster_size}, rows of {rows.shape[1]} "
            "values. Lower min_cluster_size or pca_width."
        )
    return mean_groups(rows, found.labels_, most_groups)


def check_density(num_rows, width):
    """Refuses rows that are too many or too wide for HDBSCAN.

    Raises:
      ValueError: with the numbers and the way out.
    """
    if num_rows > HDBSCAN_MOST_ROWS:
        raise ValueError(
            "HDBSCAN compares all pairs of images: at most "
            f"{HDBSCAN_MOST_ROWS} are allowed. Received: {num_rows}. Use "
            "clustering=kmeans or pic, or fewer images (max_images)."
        )
    if width > HDBSCAN_MOST_WIDTH:
        raise ValueError(
            f"HDBSCAN finds no dense regions beyond {HDBSCAN_MOST_WIDTH} "
            f"values per row. Received: {width}. Lower pca_width, to 16 for a "
            "start."
        )


def mean_groups(rows, labels, most_groups):
    """`Groups` of given labels, each with the mean of its rows.

    Args:
      rows: `[N, D]` float array.
      labels: `[N]` ints of any values; below 0 for none.
      most_groups: int; if there are more groups, the largest are kept (of equal
        ones the lower label), and rows of the others have no label.
    """
    values, number = np.unique(labels, return_inverse=True)
    counts = np.bincount(number)
    counts[values < 0] = 0
    largest = np.argsort(-counts, kind="stable")[:most_groups]
    kept = np.zeros(len(values), bool)
    kept[largest] = True
    kept &= counts > 0
    new = np.where(kept, np.cumsum(kept) - 1, -1)
    labels = new[number].astype(np.int32)  # [N]
    return Groups(labels, _means(rows, labels, int(kept.sum())))


def _means(rows, labels, num_groups):
    """Means `[C, D]` float32 of labelled rows, summed in float64."""
    by_label = np.argsort(labels, kind="stable")
    by_label = by_label[np.searchsorted(labels[by_label], 0) :]
    starts = np.searchsorted(labels[by_label], np.arange(num_groups))
    sums = np.add.reduceat(rows[by_label], starts, dtype=np.float64)
    counts = np.diff(np.append(starts, len(by_label)))
    return np.float32(sums / counts[:, None])
