"""k-means, spherical and Euclidean, in blocks of rows and over replicas.

Spherical follows facebookresearch/swav `main_deepclusterv2.py` at 06b1b7c,
Euclidean is Lloyd's; `empty="split"` is the rule of faiss, which DeepCluster
uses, `empty="copy"` is DeeperCluster's. Rows are on the strategy's devices
(`lloyd.py`); after a pass only the sums and counts of clusters come to the
host, where centroids are updated in float64.
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust.ops import lloyd
from tfclust.ops.empty_clusters import RULES
from tfclust.ops.filling import check_filling
from tfclust.ops.units import unit_rows, unit_vectors


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
    """Clusters by cosine: each pass assigns, averages, scales to unit length.

    An iteration assigns every row to the centroid with the largest dot product
    and moves each centroid to the unit vector of its rows' mean; a last
    assignment follows. If the mean is zero, the centroid stays.

    Args:
      rows: `[N, D]` float array or tensor; scaled to unit length.
      num_clusters: int K <= N.
      num_iters: int >= 1, passes. 10 in DeepCluster-v2.
      seed: int or tuple of ints >= 0; draws the start and the splits.
      initial_centroids: `[K, D]`, or None for K distinct random rows.
      empty: "keep" leaves the centroid of an empty cluster where it is
        (DeepCluster-v2), "split" halves another cluster (faiss), "copy" puts
        it beside a random one (DeeperCluster).
      block_rows: int, rows scored at once; None: as many as fit the cache.
      strategy: a `tf.distribute.Strategy` whose replicas share the rows; None
        for the one in scope. Every process passes the same rows.

    Returns:
      `KMeansResult`, the same bits at every call on one CPU machine (on a GPU
      with `enable_op_determinism`); on another number of replicas the same
      except for float32 rounding.

    Raises:
      ValueError: if an argument is out of its bounds or rows are not finite.

    Source:
      DeepCluster-v2, arXiv:2006.09882, appendix D, `cluster_memory`.
    """
    rows = rows if tf.is_tensor(rows) else np.asarray(rows)
    _check_rows(rows, num_clusters, num_iters, block_rows)
    _check_draws(empty, seed, initial_centroids)
    start = _start(rows, num_clusters, seed, initial_centroids)
    rows = unit_vectors(tf.cast(rows, tf.float32))
    _check_finite(rows)
    shards = lloyd.split_rows(rows, num_clusters, block_rows, strategy)
    return _lloyd(
        shards,
        unit_rows(np.asarray(start, np.float64), otherwise=start),
        num_iters,
        split=_splits(empty, seed),
        spherical=True,
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

    Stops early when no centroid moves, or all together move less than
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
        "split" halves another cluster (faiss), "copy" puts it beside a random
        one (DeeperCluster).
      block_rows: int, rows scored at once; None: as many as fit the cache.
      strategy: as in `spherical_kmeans`.

    Returns:
      `KMeansResult`, the same bits at every call on one CPU machine (on a GPU
      with `enable_op_determinism`); on another number of replicas the same
      except for float32 rounding.

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
    rows = rows if tf.is_tensor(rows) else np.asarray(rows)
    _check_rows(rows, num_clusters, num_iters, block_rows)
    _check_draws(empty, seed, initial_centroids)
    start = _start(rows, num_clusters, seed, initial_centroids)
    rows = tf.cast(rows, tf.float32)
    centre = tf.reduce_mean(rows, axis=0)  # [D]
    rows = rows - centre
    _check_finite(rows)
    if tolerance:
        tolerance *= float(tf.reduce_mean(tf.math.reduce_variance(rows, 0)))
    shards = lloyd.split_rows(rows, num_clusters, block_rows, strategy)
    return _lloyd(
        shards,
        np.asarray(start, np.float64) - centre.numpy(),
        num_iters,
        split=_splits(empty, seed),
        centre=centre.numpy().astype(np.float64),
        tolerance=tolerance,
    )


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


def _lloyd(
    shards,
    centroids,
    num_iters,
    *,
    split,
    spherical=False,
    centre=0.0,
    tolerance=0.0,
):
    """Passes and the last assignment; centroids are float64 throughout."""
    shift, done = np.inf, 0
    while done < num_iters and shift > tolerance:
        bias = _score_bias(centroids, spherical)
        sums, counts = lloyd.sums(shards, centroids, bias)
        before, filled = centroids, counts[:, None] > 0
        centroids = sums / np.maximum(counts, 1)[:, None]
        centroids = np.where(filled, centroids, before)
        if spherical:
            centroids = unit_rows(centroids, otherwise=before)
        if split and not filled.all():
            centroids = split(centroids + centre, counts) - centre
            if spherical:
                centroids = unit_rows(centroids, otherwise=before)
        shift, done = np.sum((centroids - before) ** 2), done + 1
    bias = _score_bias(centroids, spherical)
    labels, counts, inertia = lloyd.assign(shards, centroids, bias)
    centroids = np.float32(centroids + centre)
    return KMeansResult(centroids, labels, inertia, done, counts)


def _score_bias(centroids, spherical):
    # |x - c|^2 is least where x.c - |c|^2 / 2 is largest.
    squares = (centroids**2).sum(axis=1)
    return np.zeros_like(squares) if spherical else -0.5 * squares


def _splits(empty, seed):
    """The rule for empty clusters as a function, or None to keep them."""
    rule = RULES[empty]
    if rule is None:
        return None
    return functools.partial(rule, generator=_generator(seed, stream=1))


def _start(rows, num_clusters, seed, initial_centroids):
    if initial_centroids is None:
        return random_rows(rows, num_clusters, seed=seed)
    start = np.asarray(initial_centroids, np.float32)
    expected = (num_clusters, rows.shape[1])
    if start.shape != expected:
        raise ValueError(
            "initial_centroids must be [num_clusters, D]. Expected: "
            f"{expected}. Received: {start.shape}."
        )
    return start


def _generator(seed, stream=0):
    words = seed if isinstance(seed, tuple) else (seed,)
    key = np.random.SeedSequence(words, spawn_key=(stream,))
    return np.random.Generator(np.random.Philox(key))


def _check_finite(rows):
    if not np.isfinite(tf.reduce_sum(rows, axis=0).numpy()).all():
        raise ValueError(
            "rows must be finite. Received: nan, inf, or values whose sum "
            "overflows float32. Look for a diverged backbone."
        )


def _check_rows(rows, num_clusters, num_iters, block_rows):
    if len(rows.shape) != 2:
        raise ValueError(
            f"rows must be [N, D]. Received: shape {tuple(rows.shape)}. "
            "Flatten or pool what comes after the first axis."
        )
    if num_clusters < 1:
        raise ValueError(
            "num_clusters must be an int of at least 1. Received: "
            f"num_clusters={num_clusters}."
        )
    check_filling(rows.shape[0], num_clusters, rows="rows")
    if num_iters < 1:
        raise ValueError(
            "num_iters must be an int of at least 1. Received: "
            f"num_iters={num_iters}. DeepCluster-v2 uses 10."
        )
    if block_rows is not None and block_rows < 1:
        raise ValueError(
            "block_rows must be an int of at least 1. Received: "
            f"block_rows={block_rows}. None uses what fits the cache."
        )


def _check_draws(empty, seed, start):
    if empty not in RULES:
        raise ValueError(
            "empty says what to do with clusters without rows. Expected: "
            f"'keep', 'split' or 'copy'. Received: {empty!r}."
        )
    if seed is None and (start is None or empty != "keep"):
        raise ValueError(
            "seed must be an int or a tuple of ints, since the start or the "
            "splits are drawn. Received: seed=None. Pass one, or "
            "initial_centroids with empty='keep'."
        )
