"""Clusters that change with every batch: constrained online k-means (Qian et
al. 2022, arXiv:2105.11527).

A row goes to the cluster with the largest score plus dual. A dual falls with
each row that its cluster takes and rises by what a cluster must get, so that
small clusters grow. Everything is a pure function of the gathered batch,
compiled by XLA: replicas that call it with the same rows have the same
clusters.
"""

from typing import NamedTuple

import tensorflow as tf

from tfclust.ops.units import unit_vectors

_VOTE_TEMPERATURE = 0.5


class RunningMeans(NamedTuple):
    """Centroids `[D, K]` float32, and their numbers of rows, `[K]` int64."""

    centroids: tf.Tensor
    counts: tf.Tensor


class Votes(NamedTuple):
    """Clusters `[..., J]` int32 that a row fell into, -1 in free places, and
    their weights `[..., J]` float32, 0 in free places."""

    clusters: tf.Tensor
    weights: tf.Tensor


@tf.function(jit_compile=True, autograph=False)
def assign(rows, centroids, duals):
    """The cluster with the largest score plus dual; the first of equal ones.

    Args:
      rows: `[B, D]` float32.
      centroids: `[D, K]` float32.
      duals: `[K]` float32, rho in the paper; zeros for plain k-means.

    Returns:
      `[B]` int32.

    Source:
      CoKe, eq. 8. The batch is assigned at once, not row by row.
    """
    scores = tf.matmul(rows, centroids) + duals  # [B, K]
    return tf.argmax(scores, axis=1, output_type=tf.int32)


@tf.function(jit_compile=True, autograph=False)
def move_duals(duals, labels, *, dual_step, min_share):
    """Duals after a batch: lower where rows came, higher for all.

        rho_k <- rho_k - dual_step * (m_k - min_share * B / K)

    with m_k rows of the batch in cluster k. Below a share of 1 there is only a
    lower bound, and negative duals are set to 0.

    Args:
      duals: `[K]` float32.
      labels: `[B]` int32, the clusters of the batch.
      dual_step: float, change by one row; eta / B in the paper.
      min_share: float in [0, 1], the minimum size in units of N / K; gamma'.

    Returns:
      `[K]` float32.

    Source:
      CoKe, eq. 9 and 10; eta = 20 at B = 1024, so 0.02 per row.
    """
    num_clusters, batch = duals.shape[0], labels.shape[0]
    ones = tf.ones_like(labels, tf.float32)
    taken = tf.math.unsorted_segment_sum(ones, labels, num_clusters)  # [K]
    least = min_share * batch / num_clusters
    duals -= dual_step * (taken - least)
    return tf.maximum(duals, 0.0) if min_share < 1 else duals


@tf.function(jit_compile=True, autograph=False)
def move_centroids(means, rows, labels, normalised):
    """Running means after one more batch.

        c_k <- (n_k c_k + sum of the batch's rows in k) / (n_k + m_k)
        n_k <- n_k + m_k

    A cluster that gets no row of the batch stays the same, bit for bit; one
    whose count is 0 forgets its old position.

    Args:
      means: `RunningMeans`.
      rows: `[B, D]` float32.
      labels: `[B]` int32.
      normalised: scalar bool, whether changed centroids are scaled to unit
        length.

    Returns:
      `RunningMeans`.

    Source:
      CoKe, eq. 7 and its code: the mean uses the centroid as normalised.
    """
    centroids, counts = means
    num_clusters = counts.shape[0]
    sums = tf.math.unsorted_segment_sum(rows, labels, num_clusters)  # [K, D]
    ones = tf.ones_like(labels, tf.int64)
    taken = tf.math.unsorted_segment_sum(ones, labels, num_clusters)
    before, after = (tf.cast(n, tf.float32) for n in (counts, counts + taken))
    moved = before * centroids + tf.transpose(sums)  # [D, K]
    moved /= tf.maximum(after, 1.0)
    moved = tf.where(normalised, unit_vectors(moved, axis=0), moved)
    moved = tf.where(taken > 0, moved, centroids)
    return RunningMeans(moved, counts + taken)


@tf.function(jit_compile=True, autograph=False)
def blend_centroids(last, current, share):
    """The mean direction over epochs, (1 - share) last + share current.

    Args:
      last: `[D, K]` float32, unit columns: the mean so far.
      current: `[D, K]` float32, of any length: the epoch that has ended.
      share: scalar, 1 over the epochs in the mean.

    Returns:
      `[D, K]` float32, unit columns.

    Source:
      CoKe, the second stage of `main_single_view`.
    """
    mean = (1.0 - share) * last + share * unit_vectors(current, axis=0)
    return unit_vectors(mean, axis=0)


@tf.function(jit_compile=True, autograph=False)
def add_vote(votes, labels, share):
    """Votes, a running mean over epochs, after one more label.

    All weights are multiplied by 1 - share, and the label's grows by share. A
    label without a place takes that of the smallest weight, whose vote goes to
    the others in proportion, so that the weights still sum to 1.

    Args:
      votes: `Votes` of `[..., J]`.
      labels: `[...]` int32.
      share: scalar, 1 over the epochs in the mean.

    Returns:
      `Votes`.

    Source:
      CoKe, the second stage of `main_single_view`; J = 5.
    """
    same = votes.clusters == labels[..., None]  # [..., J]
    known = tf.reduce_any(same, axis=-1)
    smallest = tf.reduce_min(votes.weights, axis=-1)
    lost = tf.where(known, tf.zeros_like(smallest), smallest)[..., None]
    kept = (1.0 - share) / (1.0 - lost) * votes.weights
    place = tf.where(
        known,
        tf.argmax(tf.cast(same, tf.int32), axis=-1),
        tf.argmin(kept, axis=-1),
    )
    here = tf.one_hot(place, same.shape[-1], on_value=True, off_value=False)
    before = tf.where(known[..., None], kept, tf.zeros_like(kept))
    return Votes(
        tf.where(here, labels[..., None], votes.clusters),
        tf.where(here, before + share, kept),
    )


def vote_shares(votes):
    """The share of each vote in a soft label: softmax(weight / 0.5).

    Args:
      votes: `Votes` of `[..., J]`.

    Returns:
      `[..., J]` float32; 0 where the weight is 0, and otherwise summing to 1;
      all 0 for a row without votes.

    Source:
      CoKe, the second stage of `main_single_view`: over non-zero weights only.
    """
    given = votes.weights > 0
    some = tf.reduce_any(given, axis=-1, keepdims=True)
    logits = votes.weights / _VOTE_TEMPERATURE
    logits = tf.where(given | ~some, logits, logits.dtype.min)
    return tf.where(some, tf.nn.softmax(logits), tf.zeros_like(logits))


def soft_labels(clusters, shares, num_clusters):
    """Rows over all clusters, with each share at its cluster.

    Args:
      clusters: `[B, J]` int32; -1 is left out.
      shares: `[B, J]` float32.
      num_clusters: int K.

    Returns:
      `[B, K]` float32.
    """
    pairs = zip(
        tf.unstack(clusters, axis=1), tf.unstack(shares, axis=1), strict=True
    )
    return tf.add_n(
        [share[:, None] * tf.one_hot(c, num_clusters) for c, share in pairs]
    )
