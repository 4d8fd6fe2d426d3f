"""Work on every core inside `tf.data`, in a fixed order.

Nothing is left to `tf.data`'s autotuning: the thread that tunes may miss the
signal to end, and whoever frees the iterator then waits until it wakes by
itself, as long again as the pass took and at most a minute
(`Model::OptimizeLoop`: it is woken before the cancellation that it looks for
is set). Measured: 5 s after four of eight passes of 15 s.
"""

import tensorflow as tf

from tfclust import devices

# The parallel map ahead of it holds as many elements again as there are cores.
_PREFETCHED = 2


def mapped(dataset, function):
    """`dataset.map(function)` on every core, its elements in order."""
    return dataset.map(
        function,
        num_parallel_calls=devices.usable_cpus(),
        deterministic=True,
    )


def finished(dataset):
    """`dataset` in fixed order, prefetched, and never split again."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return dataset.prefetch(_PREFETCHED).with_options(options)
