"""Clusters that change a batch at a time: ODC's two memories.

Rows, labels and centroids are NumPy arrays that the functions here change in
place; sums and counts of clusters follow every change, so that a step costs
B * D and not N * D. Nothing is drawn but from keyed numbers.
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
    """Finds the libraries of NumPy's matrix products, once a process."""
    return threadpoolctl.ThreadpoolController()


def _on_one_thread(function):
    """`function` with matrix products on one thread.

    They are small, and threads of theirs would wait by spinning beside those
    of TensorFlow: fifty times slower on two busy cores. One thread also gives
    one result, whatever the number of cores.
    """

    @functools.wraps(function)
    def limited(*args, **kwargs):
        with _libraries().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited


def relabel_all(clusters, labels):
    """Gives all rows new labels and all clusters their sums and means.

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
    """Puts centroids at their rows' means; an empty cluster keeps its own.

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

    Of equal indices the last row wins. Centroids stay.

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
    """Dissolves small clusters and halves the largest in their place.

    Every row of a cluster of fewer than `min_count` rows moves to the nearest
    centroid (dot product) among the other clusters. Then each cluster that is
    empty now takes one half of the cluster that is the largest at that
    moment, parted by 2-means, and both get their means as centroids.

    Should every cluster have fewer than `min_count` rows, those of the mean
    size N / K (rounded up) or more count as large; there always is one.

    Args:
      clusters: `Clusters` with N >= K.
      min_count: int >= 1. 20 in ODC, where N / K is 128.
      smallest_part: int >= 1; where 2-means leaves a side fewer rows, the
        cluster is parted into random halves instead. 1 in ODC. With
        2 * K * smallest_part <= N every part gets as many.
      seed: tuple of ints >= 0, of the random halves.

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
    """Moves the rows of clusters that are not `large` `[K]`; those rows."""
    index = np.flatnonzero(~large[clusters.labels])
    if not len(index):
        return _NO_ROWS
    (others,) = np.nonzero(large)
    rows = clusters.rows[index]
    nearest = np.argmax(rows @ clusters.centroids[others].T, axis=1)
    labels = others[nearest]
    clusters.labels[index] = labels
    clusters.sums[~large] = 0  # no rounding stays behind
    clusters.counts[~large] = 0
    _count(clusters, labels, rows, 1)
    return index


def _split_largest(clusters, heir, smallest_part, seed):
    """Gives cluster `heir` a part of the largest; the rows of that part."""
    largest = np.argmax(clusters.counts)  # of equals the first
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
    """Adds (sign 1) or takes away (-1) rows `[n, D]` of `labels` `[n]`."""
    order = np.argsort(labels, kind="stable")
    found, first = np.unique(labels[order], return_index=True)
    sums = np.add.reduceat(rows[order].astype(np.float64), first, axis=0)
    clusters.sums[found] += sign * sums
    clusters.counts[found] += sign * np.diff(first, append=len(labels))
