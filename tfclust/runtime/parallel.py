"""Work on several cores inside `tf.data`, in a fixed order.

`tf.data`'s autotuning is not used: the tuning thread may miss the signal to
end, and whoever frees the iterator then waits until it wakes by itself, for as
long as the pass took and at most a minute (`Model::OptimizeLoop`: it is woken
before the cancellation that it checks is set).
"""

import tensorflow as tf

from tfclust.runtime import cores

# A map holds as many elements as it works on at once; for batches, only a few.
_BATCHES_AT_ONCE = 4
_BATCHES_WAITING = 2


def map_images(dataset, function):
    """`dataset.map(function)` on every core, its elements in order."""
    return _mapped(dataset, function, cores.usable_cpus())


def map_batches(dataset, function):
    """The same for elements that are a whole batch."""
    at_once = min(_BATCHES_AT_ONCE, cores.usable_cpus())
    return _mapped(dataset, function, at_once)


def map_plainly(dataset, function):
    """`dataset.map(function)`, for a function too small for other cores.

    Pipeline functions never branch in Python on a tensor, so AutoGraph is off:
    rewriting a function takes it longer than tracing does.
    """
    return dataset.map(tf.autograph.experimental.do_not_convert(function))


def finished(dataset):
    """`dataset` in fixed order, with prefetched batches."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    return dataset.prefetch(_BATCHES_WAITING).with_options(options)


def _mapped(dataset, function, at_once):
    return dataset.map(
        tf.autograph.experimental.do_not_convert(function),
        num_parallel_calls=at_once,
        deterministic=True,
    )
