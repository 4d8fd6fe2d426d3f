"""Balanced labels of all images: Sinkhorn over a data set (SeLa, 1911.05371).

SeLa's label step asks for Q of `[N, K]` with rows of mass 1 / N and columns of
mass 1 / K that minimises (eq. 7, with P the softmax of a linear head)

    <Q, -log P> + KL(Q || r c^T) / lambda,   r = 1 / K, c = 1 / N.

The solution is Q_nk = c_n P_nk^lambda r_k; scaling finds the factors in turn. A
row then follows from log r alone: N Q_n is the softmax over k of lambda log
P_nk + log r_k. So the state is a K-vector, a pass sums the rows' softmax by
column, block by block, and N x K is never needed.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust.ops import lloyd, scaling

CACHE_BYTES = 2**30
_CHECK_ITERS = 10
_LARGEST_MARGINAL_ERROR = 0.01


class TransportResult(NamedTuple):
    """What the label step found; NumPy arrays.

    pseudo_labels `[N]` int32, log_r `[K]` float64 of mean 0, marginal_error
    float (largest deviation of a cluster's soft mass, as a share of 1 / K;
    rows are exact), num_iters int passes made, objective float (eq. 7 of the
    soft Q, less the constant log N, so that its first part is the
    cross-entropy of training).
    """

    pseudo_labels: np.ndarray
    log_r: np.ndarray
    marginal_error: float
    num_iters: int
    objective: float


def balanced_labels(
    features,
    kernel,
    bias=None,
    *,
    power,
    tolerance=1e-4,
    max_iters=2000,
    cache_bytes=CACHE_BYTES,
    initial_log_r=None,
    block_rows=None,
    strategy=None,
):
    """Labels of N images in K clusters of (nearly) equal size.

    With p = softmax(features @ kernel + bias) a pass is

        c_n = (1 / N) / sum_k r_k p_nk^power
        r_k = (1 / K) / sum_n c_n p_nk^power

    and at the end label_n = argmax_k (power * log p_nk + log r_k). Passes end
    once c changes by at most `tolerance` per image and every cluster's soft
    mass is within 1 % of 1 / K; this is checked every tenth pass.

    Args:
      features: `[N, d]` float array or tensor, or the result of `place`.
      kernel: `[d, K]` float, the head's weights.
      bias: `[K]` float, or None.
      power: float > 0, lambda of SeLa; larger is harder. 25 at ImageNet.
      tolerance: float >= 0, mean over images of |c_n / c'_n - 1| between two
        passes. The source's `err` is the sum: 0.1 over 1.28M images at
        ImageNet is 8e-8 per image, 0.01 over CIFAR's 50,000 is 2e-7.
      max_iters: int >= 1, largest number of passes.
      cache_bytes: int >= 0, on each device; if power * log p fits, it is kept
        as float32 (twice that while it is computed); otherwise every pass
        computes it again from the features.
      initial_log_r: `[K]` float, a start such as the last label step's log_r;
        None for equal factors.
      block_rows: int, rows scored at once; None: as many as fit the cache of
        a processor.
      strategy: a `tf.distribute.Strategy` whose replicas share the rows; None
        for the one in scope. Every process passes the same rows.

    Returns:
      `TransportResult`; the same on another number of replicas except for
      float32 rounding. Soft masses are within 1 % unless `max_iters` came
      first; hard counts are not exact, as in the source.

    Raises:
      ValueError: if an argument is out of its bounds, shapes do not fit, or
        features are not finite.

    Source:
      Asano et al. 2020, arXiv:1911.05371, eq. 6-8, and its `optimize_L_sk`.
      Differs: starts from equal r instead of equal c; float32 scores with
      float64 vectors, relative to each row's best, instead of float64 powers;
      the bound on soft masses.
    """
    _check_numbers(power, tolerance, max_iters, cache_bytes)
    head = _head(kernel, bias, power)
    num_clusters = head.kernel.shape[1]
    shards = features
    if not isinstance(features, lloyd.Shards):
        shards = place(
            features, num_clusters, block_rows=block_rows, strategy=strategy
        )
    _check_fit(shards, head)
    log_r = _start(initial_log_r, num_clusters)
    passes = scaling.Passes(shards, head, cache_bytes)
    log_r, done = _scale(passes, log_r, tolerance, max_iters)
    labels, mass, log_sum = scaling.rounded(shards, head, log_r)
    # log(N Q_nk) = power log p_nk + log r_k - log_sum_n: eq. 7 becomes this.
    objective = (mass @ log_r - log_sum + np.log(num_clusters)) / power
    return TransportResult(
        labels, log_r, _marginal_error(mass), done, float(objective)
    )


def place(features, num_clusters, *, block_rows=None, strategy=None):
    """Features on the strategy's devices, for several heads in turn.

    Args:
      features: `[N, d]` float array or tensor.
      num_clusters: int K of the largest head.
      block_rows: int, rows scored at once, or None.
      strategy: as in `balanced_labels`.

    Returns:
      What `balanced_labels` takes for features.

    Raises:
      ValueError: if `features` are not `[N, d]` with N >= 1, or not finite.
    """
    features = features if tf.is_tensor(features) else np.asarray(features)
    if len(features.shape) != 2 or not features.shape[0]:
        raise ValueError(
            "features must be [N, d], N at least 1. Received: shape "
            f"{tuple(features.shape)}."
        )
    if block_rows is not None and block_rows < 1:
        raise ValueError(
            "block_rows must be an int of at least 1. Received: "
            f"block_rows={block_rows}. None uses what fits the cache."
        )
    features = tf.cast(features, tf.float32)
    if not np.isfinite(tf.reduce_sum(features, axis=0).numpy()).all():
        raise ValueError(
            "features must be finite. Received: nan, inf, or values whose sum "
            "overflows float32. Look for a diverged backbone."
        )
    return lloyd.split_rows(features, num_clusters, block_rows, strategy)


def _scale(passes, log_r, tolerance, max_iters):
    """log r `[K]` at the end, and how many passes it took."""
    mass = np.full(len(log_r), 1 / len(log_r))
    done = 0
    while done < max_iters:
        count = min(_CHECK_ITERS, max_iters - done)
        log_r, mass, change = passes(count, log_r, mass)
        done += count
        if _marginal_error(mass) <= _LARGEST_MARGINAL_ERROR and (
            change <= tolerance
        ):
            break
    return log_r, done


def _marginal_error(mass):
    return float(np.abs(mass * len(mass) - 1).max())


def _head(kernel, bias, power):
    kernel = tf.cast(kernel, tf.float32)
    if kernel.shape.rank != 2:
        raise ValueError(
            f"kernel must be [d, K]. Received: shape {tuple(kernel.shape)}."
        )
    num_clusters = kernel.shape[1]
    bias = tf.zeros([num_clusters]) if bias is None else bias
    bias = tf.cast(bias, tf.float32)
    if bias.shape != [num_clusters]:
        raise ValueError(
            f"bias must be [K] = [{num_clusters}], like the kernel. "
            f"Received: shape {tuple(bias.shape)}."
        )
    return scaling.Head(kernel, bias, tf.constant(power, tf.float32))


def _start(initial_log_r, num_clusters):
    if initial_log_r is None:
        return np.zeros(num_clusters)
    log_r = np.array(initial_log_r, np.float64)
    if log_r.shape != (num_clusters,) or not np.isfinite(log_r).all():
        raise ValueError(
            f"initial_log_r must be [K] = [{num_clusters}] finite numbers. "
            f"Received: shape {log_r.shape}. None starts from equal factors."
        )
    return log_r - log_r.mean()


def _check_fit(shards, head):
    width = scaling.width(shards)
    if width != head.kernel.shape[0]:
        raise ValueError(
            "features [N, d] and kernel [d, K] must share d. Received: "
            f"features of width {width}, kernel of {head.kernel.shape[0]} rows."
        )


def _check_numbers(power, tolerance, max_iters, cache_bytes):
    bounds = {
        "power": (power, power > 0, "a float above 0; SeLa uses 25 or 10"),
        "tolerance": (tolerance, tolerance >= 0, "a float of at least 0"),
        "max_iters": (max_iters, max_iters >= 1, "an int of at least 1"),
        "cache_bytes": (cache_bytes, cache_bytes >= 0, "an int of at least 0"),
    }
    for name, (value, fits, expected) in bounds.items():
        if not fits:
            raise ValueError(
                f"{name} must be {expected}. Received: {name}={value}."
            )
