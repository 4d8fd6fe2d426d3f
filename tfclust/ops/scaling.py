"""Passes of the scaling over rows that are on the devices.

Rows are split over the replicas of a strategy and scored block by block; after
a pass only sums by cluster come to the host.
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust.runtime import replicas

# A cluster's mass may underflow in float32. A factor that grows less than it
# should gets to the same value a few passes later.
_SMALLEST_MASS = 1e-30
_FARTHEST = 0.1  # of log r from the float32 value that scores use for it


class Head(NamedTuple):
    """kernel `[d, K]`, bias `[K]` and power `[]`, float32."""

    kernel: tf.Tensor
    bias: tf.Tensor
    power: tf.Tensor


class Passes:
    """Passes over the shards, from cached scores where these fit.

    In float32 a log r of 10 is known to 1e-6, and its last bit never settles,
    so c would keep changing by as much. Therefore scores use a float32 log r
    that stays fixed as long as log r is near it; the growth since then, a small
    number, is added separately. Changes of c of 1e-8 are then visible.
    """

    def __init__(self, shards, head, cache_bytes):
        self._shards, self._head = shards, head
        num_clusters = head.kernel.shape[1]
        blocks, block, _ = _local(shards.strategy, shards.rows).shape
        if 4 * blocks * block * num_clusters <= cache_bytes:
            scores = _on_replicas(
                _cache_step, shards.strategy, shards.rows, head
            )
            self._shards, self._head = shards._replace(rows=scores), None
        # Empty: the first pass has nothing to compare with.
        self._log_c = _on_replicas(_nothing_step, shards.strategy, shards.rows)
        self._base = tf.fill([num_clusters], np.float32(np.inf))
        counts = _on_replicas(_count_step, shards.strategy, shards.num_rows)
        self._num_rows = tf.cast(_local(shards.strategy, counts), tf.float64)

    def __call__(self, count, log_r, mass):
        """Some passes, in one call: a call costs as much as a small pass.

        Args:
          count: int >= 1, passes.
          log_r: `[K]` float64 of the pass before.
          mass: `[K]` float64 of the pass before; 1 / K each if there is none.

        Returns:
          log_r and mass of the last pass, `[K]` float64 NumPy, and the mean
          change of c between the last two.
        """
        shards = self._shards
        log_r, mass, change, self._base, self._log_c = _scaled(
            shards.strategy,
            count,
            (shards.rows, shards.num_rows, self._head),
            self._num_rows,
            tf.constant(log_r, tf.float64),
            tf.constant(mass, tf.float64),
            self._base,
            self._log_c,
        )
        return log_r.numpy(), mass.numpy(), float(change)


@tf.function(autograph=False)
def _scaled(strategy, count, rows, num_rows, log_r, mass, base, log_c):
    num_clusters = log_r.shape[0]
    for _ in range(count):
        log_r -= tf.math.log(tf.maximum(mass, _SMALLEST_MASS) * num_clusters)
        log_r -= tf.reduce_mean(log_r)  # r and c are known up to a factor
        moved = tf.reduce_max(tf.abs(log_r - tf.cast(base, tf.float64)))
        base = tf.where(moved > _FARTHEST, tf.cast(log_r, tf.float32), base)
        growth = tf.math.expm1(log_r - tf.cast(base, tf.float64))
        log_c, mass, change = _on_replicas(
            _pass_step,
            strategy,
            *rows,
            base,
            tf.cast(growth, tf.float32),
            log_c,
        )
        mass = _local(strategy, mass) * (1 + growth) / num_rows
    return log_r, mass, _local(strategy, change) / num_rows, base, log_c


def rounded(shards, head, log_r):
    """Labels `[N]` int32, mass `[K]` and log sums, as NumPy."""
    results = _on_replicas(
        _labels_step,
        shards.strategy,
        shards.rows,
        shards.num_rows,
        head,
        tf.constant(log_r, tf.float32),
    )
    labels, mass, log_sums = (
        _local(shards.strategy, x).numpy() for x in results
    )
    labels = labels[labels >= 0]  # others only fill a replica's last block
    return labels, mass / len(labels), float(log_sums) / len(labels)


def width(shards):
    """Width of the rows."""
    return _local(shards.strategy, shards.rows).shape[-1]


def _on_replicas(step, strategy, *args):
    if strategy.num_replicas_in_sync == 1:
        return _traced(step)(*args)
    return _traced_on_replicas(step, strategy, *args)


@functools.cache
def _traced(step):
    """A function for each step: TensorFlow warns of one that traces many."""
    return tf.function(step, autograph=False)


@tf.function(autograph=False)
def _traced_on_replicas(step, strategy, *args):
    return strategy.run(step, args=args)


def _local(strategy, value):
    """A replica's value on this machine; sums are the same on all."""
    return strategy.experimental_local_results(value)[0]


def _count_step(num_rows):
    return replicas.all_sum(num_rows)


def _nothing_step(rows):
    return tf.fill(rows.shape[:2], tf.constant(np.inf, tf.float64))


def _cache_step(rows, head):
    """Scores of all rows, `[blocks, block, K]`."""
    return tf.map_fn(lambda block: _scores(block, head)[0], rows)


def _pass_step(rows, num_rows, head, log_r, growth, log_c):
    """log c `[blocks, block]` (less a constant), mass `[K]`, change of c.

    The mass lacks a factor of 1 + growth.
    """
    num_clusters = log_r.shape[0]

    def add_block(i, mass, change, new):
        real = _real(rows[i], i, num_rows)
        of_block, log_sums = _soft_counts(rows[i], real, head, log_r, growth)
        moved = tf.where(real, tf.abs(tf.exp(log_c[i] + log_sums) - 1), 0.0)
        return (
            i + 1,
            mass + tf.cast(of_block, tf.float64),
            change + tf.reduce_sum(moved),
            new.write(i, -log_sums),
        )

    start = (
        0,
        tf.zeros([num_clusters], tf.float64),
        tf.zeros([], tf.float64),
        tf.TensorArray(tf.float64, rows.shape[0]),
    )
    _, mass, change, new = tf.while_loop(
        lambda i, *_: i < rows.shape[0], add_block, start
    )
    return new.stack(), replicas.all_sum(mass), replicas.all_sum(change)


def _labels_step(rows, num_rows, head, log_r):
    """Labels of all rows, -1 for filling; mass `[K]`; sum of log sums."""

    def of_block(i):
        real = _real(rows[i], i, num_rows)
        labels, mass, log_sums = _rounded(rows[i], real, head, log_r)
        sums = tf.reduce_sum(tf.where(real, log_sums, 0.0))
        labels = tf.where(real, labels, -tf.ones_like(labels))
        return labels, tf.cast(mass, tf.float64), sums

    labels, mass, sums = tf.map_fn(
        of_block,
        tf.range(rows.shape[0]),
        fn_output_signature=(tf.int32, tf.float64, tf.float64),
    )
    return (
        replicas.all_gather(tf.reshape(labels, [-1])),  # [N + filling]
        replicas.all_sum(tf.reduce_sum(mass, axis=0)),
        replicas.all_sum(tf.reduce_sum(sums)),
    )


def _real(block, i, num_rows):
    size = block.shape[0]
    return i * size + tf.range(size) < num_rows


@tf.function(jit_compile=True, autograph=False)
def _scores(block, head):
    """power * log p `[b, K]` relative to each row's best, and the best `[b]`.

    The values that matter are then near 0, where float32 is finest.
    """
    logits = tf.matmul(block, head.kernel) + head.bias  # [b, K]
    best = tf.reduce_max(logits, axis=1, keepdims=True)
    logits = logits - best
    log_sums = tf.reduce_logsumexp(logits, axis=1)
    return head.power * logits, -head.power * log_sums


@tf.function(jit_compile=True, autograph=False)
def _soft_counts(block, real, head, log_r, growth):
    """Mass by cluster `[K]` and log sums `[b]` float64 of a block's rows.

    The block holds scores `[b, K]` if `head` is None, otherwise features.
    """
    scores = block if head is None else _scores(block, head)[0]
    return _soft(scores + log_r, real, growth)


@tf.function(jit_compile=True, autograph=False)
def _rounded(block, real, head, log_r):
    """Labels `[b]`, mass `[K]` and true log sums `[b]` of a block's rows."""
    scores, best = _scores(block, head)
    logits = scores + log_r
    mass, log_sums = _soft(logits, real, tf.zeros_like(log_r))
    labels = tf.argmax(logits, axis=1, output_type=tf.int32)
    return labels, mass, log_sums + tf.cast(best, tf.float64)


def _soft(logits, real, growth):
    top = tf.reduce_max(logits, axis=1)  # [b]
    shares = tf.exp(logits - top[:, None])  # [b, K]
    sums = tf.cast(tf.reduce_sum(shares, axis=1), tf.float64)  # [b]
    sums += tf.cast(tf.linalg.matvec(shares, growth), tf.float64)
    weights = tf.cast(tf.where(real, 1 / sums, tf.zeros_like(sums)), tf.float32)
    mass = tf.linalg.matvec(shares, weights, transpose_a=True)  # [K]
    return mass, tf.cast(top, tf.float64) + tf.math.log(sums)
