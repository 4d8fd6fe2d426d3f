"""Batches shared by the replicas of a strategy, each with its own pipeline."""

import concurrent.futures
import functools

import numpy as np
import tensorflow as tf

from tfclust.runtime import replicas


def distribute(strategy, make_batches):
    """Batches for the replicas of this host, each on its device.

    Each replica has its own pipeline for its slice of the global batch, so the
    number of hosts and replicas changes no batch. While a GPU computes, the
    next batch is copied to it.

    TensorFlow's distributed datasets do the same, but leave functions behind
    for each device and epoch, and use autotuning, which makes the end of an
    epoch wait (`tfclust/runtime/parallel.py`) and cannot be turned off.

    Args:
      strategy: `tf.distribute.Strategy`.
      make_batches: function of `num_shards` and `shard` -> dataset.

    Returns:
      A generator of elements; with several replicas, of values per replica.
    """
    batches = _by_replica(strategy, make_batches)
    ahead = tf.config.list_logical_devices("GPU")
    return _ahead(batches) if ahead else batches


class _Ended(Exception):
    """A pipeline has no more batches; an error in one is raised as itself."""


def _by_replica(strategy, make_batches):
    num_shards = strategy.num_replicas_in_sync

    @functools.cache
    def pipeline(replica):
        with tf.device("CPU:0"):
            return iter(make_batches(num_shards=num_shards, shard=replica))

    def take(replica):
        for batch in pipeline(replica):
            return batch
        raise _Ended

    while True:
        try:
            batch = replicas.on_devices(strategy, take)
        except _Ended:  # all replicas' pipelines have the same length
            return
        yield batch


def _ahead(batches):
    """`batches`, each fetched while the one before is in use.

    `tf.data.experimental.prefetch_to_device` does the same for one device, but
    leaves six functions per dataset in TensorFlow's graph: 0.8 MB an epoch that
    are never freed.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(next, batches, None)
        while batch := waiting.result():
            waiting = thread.submit(next, batches, None)
            yield batch


def whole(strategy, results):
    """What `strategy.run` returned, joined over this host's replicas.

    Args:
      strategy: `tf.distribute.Strategy`, or None for one device.
      results: a nest of tensors `[B / R, ...]` per replica.

    Returns:
      The nest of arrays `[B, ...]`, rows in the order of the global batch.
    """

    if strategy is None:
        return tf.nest.map_structure(np.asarray, results)

    def joined(parts):
        local = strategy.experimental_local_results(parts)
        return np.concatenate([np.asarray(part) for part in local])

    return tf.nest.map_structure(joined, results)
