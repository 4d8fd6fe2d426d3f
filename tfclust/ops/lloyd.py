"""Passes of k-means over rows that are on the devices.

Rows are split over the replicas of a strategy and scored block by block, never
N x K at once; sums and counts of clusters are added up over the replicas.
"""

from typing import NamedTuple

import tensorflow as tf

from tfclust.runtime import replicas

# Scores of a block: 4M floats stay near the cache and still fill the cores.
_BLOCK_SCORES = 2**22
_SMALLEST_BLOCK = 1024


class Shards(NamedTuple):
    """Rows by replica: `[blocks, block, D]`; num_rows of them are real."""

    rows: tf.Tensor
    num_rows: tf.Tensor
    strategy: tf.distribute.Strategy


def split_rows(rows, num_clusters, block_rows, strategy):
    """`Shards` of `[N, D]` rows, each replica's on its device."""
    strategy = strategy or tf.distribute.get_strategy()
    num_replicas = strategy.num_replicas_in_sync
    total, width = rows.shape
    own = -(-total // num_replicas)
    block = block_rows or max(_SMALLEST_BLOCK, _BLOCK_SCORES // num_clusters)
    blocks = -(-own // min(block, own))
    block = -(-own // blocks)

    def of_replica(replica):
        first = min(replica * own, total)
        part = rows[first : first + own]
        real = part.shape[0]
        if real < blocks * block:
            part = tf.pad(part, [[0, blocks * block - real], [0, 0]])
        return tf.reshape(part, [blocks, block, width]), tf.constant(real)

    blocked, real = replicas.on_devices(strategy, of_replica)
    return Shards(blocked, real, strategy)


def sums(shards, centroids, bias):
    """Sums `[K, D]` float64 and counts `[K]` of the rows by centroid.

    A row goes to the centroid `[K, D]` with the largest dot product plus bias
    `[K]`, to the first of equal ones.
    """
    return _run(_sums_step, shards, centroids, bias)


def assign(shards, centroids, bias):
    """Labels `[N]` int32, counts `[K]` int64 and inertia, as `sums` assigns."""
    labels, counts, inertia = _run(_labels_step, shards, centroids, bias)
    # Rows that only fill a replica's last block are -1 and drop out.
    return labels[labels >= 0], counts, float(inertia)


def _run(step, shards, centroids, bias):
    """NumPy results of `step`, which are the same on every replica."""
    results = _on_replicas(
        step,
        shards.strategy,
        shards.rows,
        shards.num_rows,
        tf.constant(centroids, tf.float32),
        tf.constant(bias, tf.float32),
    )
    local = shards.strategy.experimental_local_results
    return [local(x)[0].numpy() for x in results]


@tf.function(autograph=False)
def _on_replicas(step, strategy, *args):
    if strategy.num_replicas_in_sync == 1:
        return step(*args)
    return strategy.run(step, args=args)


def _sums_step(rows, num_rows, centroids, bias):
    num_clusters, width = centroids.shape
    start = (
        tf.zeros([num_clusters, width], tf.float64),
        tf.zeros([num_clusters], tf.int64),
    )

    def add_block(i, sums, counts):
        labels = _nearest(rows[i], i, num_rows, centroids, bias)
        of_block, number = _segment_sums(rows[i], labels, num_clusters)
        # Float64 over blocks, so that a large cluster loses no precision.
        sums += tf.cast(of_block, tf.float64)
        return i + 1, sums, counts + tf.cast(number, tf.int64)

    _, sums, counts = tf.while_loop(
        lambda i, *_: i < rows.shape[0], add_block, (0, *start)
    )
    return replicas.all_sum(sums), replicas.all_sum(counts)


def _labels_step(rows, num_rows, centroids, bias):
    def of_block(i):
        labels = _nearest(rows[i], i, num_rows, centroids, bias)
        nearest = tf.gather(centroids, tf.maximum(labels, 0))
        squares = tf.reduce_sum((rows[i] - nearest) ** 2, axis=1)
        squares = tf.where(labels >= 0, squares, tf.zeros_like(squares))
        return labels, tf.reduce_sum(tf.cast(squares, tf.float64))

    labels, inertia = tf.map_fn(
        of_block,
        tf.range(rows.shape[0]),
        fn_output_signature=(tf.int32, tf.float64),
    )
    labels = replicas.all_gather(tf.reshape(labels, [-1]))  # [N + filling]
    ones = tf.ones_like(labels, tf.int64)
    counts = tf.math.unsorted_segment_sum(ones, labels, centroids.shape[0])
    return labels, counts, replicas.all_sum(tf.reduce_sum(inertia))


def _nearest(block, i, num_rows, centroids, bias):
    """Labels `[block]` int32; -1 for rows that only fill the last block."""
    scores = tf.matmul(block, centroids, transpose_b=True)  # [block, K]
    scores = tf.nn.bias_add(scores, bias)
    labels = tf.argmax(scores, axis=1, output_type=tf.int32)
    size = block.shape[0]
    real = i * size + tf.range(size) < num_rows
    return tf.where(real, labels, -tf.ones_like(labels))


@tf.function(jit_compile=True, autograph=False)
def _segment_sums(block, labels, num_clusters):
    # Under XLA this takes a tenth of the plain op's time on CPU, in one order.
    ones = tf.ones_like(labels)
    return (
        tf.math.unsorted_segment_sum(block, labels, num_clusters),
        tf.math.unsorted_segment_sum(ones, labels, num_clusters),
    )
