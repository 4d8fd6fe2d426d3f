"""Clusters that change a batch at a time: ODC's two memories.

Rows, labels and centroids are NumPy arrays that the functions here change in
place. Sums and counts of clusters are updated with every change, so that a step
costs B * D and not N * D. All random numbers are keyed.
"""

import functools
from typing import NamedTuple

import numpy as np
import threadpoolctl

from tfclust.ops.two_means import two_means
from tfclust.ops.units import unit_rows

_NO_ROWS = np.zeros(0, np.int64)
_BLOCK_ROWS = 2**16


class Clusters(NamedTuple):
    """Rows with their labels, and the clusters' means; changed in place.

    rows `[N, D]` float32, labels `[N]` int32 in [0, K), centroids `[K, D]`
    float32, sums `[K, D]` float64 and counts `[K]` int64 of the rows by label.
    """

    rows: np.ndarray
    labels: np.ndarray
    centroids: np.ndarray
    sums: np.ndarray
    counts: np.ndarray


@functools.cache
def _libraries():
    """Finds the libraries of NumPy's matrix products, once per process."""
    return threadpoolctl.ThreadpoolController()


def _on_one_thread(function):
    """`function` with matrix products on one thread.

    The products are small, and their threads would busy-wait beside
    TensorFlow's: fifty times slower on two busy cores. One thread also gives
    the same result on any number of cores.
    """

    @functools.wraps(function)
    def limited(*args, **kwargs):
        with _libraries().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited


def relabel_all(clusters, labels):
    """Gives all rows new labels and recomputes all clusters.

    Args:
      clusters: `Clusters`.
      labels: int `[N]`.
    """
    clusters.labels[:] = labels
    clusters.sums[:] = 0
    clusters.counts[:] = 0
    for first in range(0, len(labels), _BLOCK_ROWS):
        block = slice(first, first + _BLOCK_ROWS)
        _count(clusters, clusters.labels[block], clusters.rows[block], 1)
    refresh_centroids(clusters)


def refresh_centroids(clusters, which=slice(None)):
    """Moves centroids to their rows' means; an empty cluster keeps its own.

    Args:
      clusters: `Clusters`.
      which: clusters, as an index into K; all of them if left out.
    """
    counts = clusters.counts[which][:, None]
    means = clusters.sums[which] / np.maximum(counts, 1)
    kept = clusters.centroids[which]
    clusters.centroids[which] = np.where(counts > 0, means, kept)


@_on_one_thread
def update_rows(clusters, index, new_rows, weight):
    """Mixes rows with new ones and labels them by the nearest centroid.

        row <- unit((1 - weight) * row + weight * new row)
        label <- argmax over clusters of centroid . row

    If an index repeats, the last row wins. Centroids do not change.

    Args:
      clusters: `Clusters`.
      index: int `[B]`, which rows.
      new_rows: `[B, D]` float, unit rows.
      weight: float in [0, 1], of the new rows.

    Returns:
      int64 `[b]`, the rows that were written, each once.

    Source:
      ODC, arXiv:2006.10645, section 3.2; OpenSelfSup `odc_memory.py`.
    """
    index, last = np.unique(np.asarray(index)[::-1], return_index=True)
    new_rows = np.asarray(new_rows)[::-1][last]
    mixed = (1 - weight) * clusters.rows[index] + weight * new_rows
    mixed = unit_rows(mixed).astype(np.float32)
    labels = np.argmax(mixed @ clusters.centroids.T, axis=1)
    _count(clusters, clusters.labels[index], clusters.rows[index], -1)
    _count(clusters, labels, mixed, 1)
    clusters.rows[index] = mixed
    clusters.labels[index] = labels
    return index


@_on_one_thread
def remove_small(clusters, min_count, *, smallest_part=1, seed=0):
    """Dissolves small clusters and halves the largest to replace them.

    Every row of a cluster with fewer than `min_count` rows moves to the nearest
    centroid (dot product) among the other clusters. Then each cluster that is
    now empty takes one half of the cluster that is the largest at that moment,
    split by 2-means, and both get their means as centroids.

    If every cluster has fewer than `min_count` rows, those with the mean size
    N / K (rounded up) or more count as large; there is always one.

    Args:
      clusters: `Clusters` with N >= K.
      min_count: int >= 1. 20 in ODC, where N / K is 128.
      smallest_part: int >= 1; if 2-means leaves one side with fewer rows, the
        cluster is split into random halves instead. 1 in ODC. With
        2 * K * smallest_part <= N every part gets at least this many.
      seed: tuple of ints >= 0, for the random halves.

    Returns:
      int64 array, the rows whose label changed, each once.

    Source:
      ODC, arXiv:2006.10645, section 3.3; OpenSelfSup `odc_memory.py`,
      `deal_with_small_clusters`.
    """
    mean_size = -(-len(clusters.labels) // len(clusters.counts))
    large = clusters.counts >= min(min_count, mean_size)
    if large.all():
        return _NO_ROWS
    moved = [_dissolve(clusters, large)]
    for heir in np.flatnonzero(~large):
        moved.append(_split_largest(clusters, heir, smallest_part, seed))
    return np.unique(np.concatenate(moved))


def _dissolve(clusters, large):
    """Moves the rows of clusters that are not `large` `[K]`; returns them."""
    index = np.flatnonzero(~large[clusters.labels])
    if not len(index):
        return _NO_ROWS
    (others,) = np.nonzero(large)
    rows = clusters.rows[index]
    nearest = np.argmax(rows @ clusters.centroids[others].T, axis=1)
    labels = others[nearest]
    clusters.labels[index] = labels
    clusters.sums[~large] = 0  # leaves no rounding error
    clusters.counts[~large] = 0
    _count(clusters, labels, rows, 1)
    return index


def _split_largest(clusters, heir, smallest_part, seed):
    """Gives cluster `heir` a part of the largest; returns its rows."""
    largest = np.argmax(clusters.counts)  # the first of equal ones
    index = np.flatnonzero(clusters.labels == largest)
    rows = clusters.rows[index]
    part = two_means(rows)
    size = np.count_nonzero(part)
    if min(size, len(index) - size) < smallest_part:
        key = (*np.atleast_1d(seed), heir)
        order = np.random.default_rng(key).permutation(len(index))
        part = order < len(index) // 2
    clusters.labels[index[part]] = heir
    for cluster, members in ((largest, rows[~part]), (heir, rows[part])):
        clusters.sums[cluster] = members.sum(axis=0, dtype=np.float64)
        clusters.counts[cluster] = len(members)
    refresh_centroids(clusters, [largest, heir])
    return index[part]


def _count(clusters, labels, rows, sign):
    """Adds (sign 1) or removes (-1) rows `[n, D]` with `labels` `[n]`."""
    order = np.argsort(labels, kind="stable")
    found, first = np.unique(labels[order], return_index=True)
    sums = np.add.reduceat(rows[order].astype(np.float64), first, axis=0)
    clusters.sums[found] += sign * sums
    clusters.counts[found] += sign * np.diff(first, append=len(labels))
