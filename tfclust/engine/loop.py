"""The epoch loop, over (start epoch, start step).

Keras's own loop builds the next epoch's iterator before `on_epoch_begin`, so
prefetched batches would have an old order, and it cannot start inside an epoch.
Here an epoch's dataset is made after `begin_epoch` and `reassign`, and (seed,
step) is the whole position in the data.
"""

import concurrent.futures
import functools
import time
from typing import Any

import keras
import tensorflow as tf

from tfclust.runtime import replicas

_PROBE_STEPS = 16  # steps between two measurements of the wait for images


def total_steps(views, epochs, steps):
    """Optimizer steps of a run, from `epochs` or `steps`.

    Raises:
      ValueError: unless exactly one of the two is given and positive.
    """
    if (epochs is None) == (steps is None):
        raise ValueError(
            "give either epochs or steps. Received: "
            f"epochs={epochs}, steps={steps}."
        )
    count = steps if epochs is None else epochs * views.steps_per_epoch
    if count < 1:
        raise ValueError(
            "a run needs at least one step. Received: "
            f"epochs={epochs}, steps={steps}."
        )
    return count


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


def run(method, views, *, total_steps, start_step, callbacks):
    """Trains `method` from `start_step` until `total_steps` are done.

    Args:
      method: a prepared `Method`.
      views: `tfclust.data.Views`.
      total_steps: int, steps done at the end.
      start_step: int, steps done already.
      callbacks: Keras callbacks; `on_train_batch_end` gets the run's step.

    Returns:
      A `keras.callbacks.History` of the epochs' figures.
    """
    history = keras.callbacks.History()
    callbacks = keras.callbacks.CallbackList([history, *callbacks])
    callbacks.set_model(method)
    callbacks.set_params(
        {"steps": views.steps_per_epoch, "total_steps": total_steps}
    )
    method.stop_training = False
    method.total_steps = total_steps
    method.make_train_function()
    callbacks.on_train_begin()
    step = start_step
    while step < total_steps and not method.stop_training:
        step = _run_epoch(method, views, step, total_steps, callbacks)
    callbacks.on_train_end()
    return history


def _run_epoch(method, views, start, total_steps, callbacks):
    """Runs from step `start` to the end of its epoch; returns steps done."""
    epoch, first = divmod(start, views.steps_per_epoch)
    end = min((epoch + 1) * views.steps_per_epoch, total_steps)
    clock = _Clock()
    callbacks.on_epoch_begin(epoch)
    method.epoch.assign(epoch)
    method.begin_epoch(epoch)
    clock.reassign(method, start)
    if first == 0:
        method.order_snapshot = method.order(epoch)
    batches = _epoch_batches(method, views, epoch, first)
    counted = int(method.step.numpy()) - start  # by earlier fits, usually 0
    for step in range(start, end):
        if step > start:
            clock.reassign(method, step)
        callbacks.on_train_batch_begin(step)
        loss = clock.train(method, batches, counted + step)
        callbacks.on_train_batch_end(step, {"loss": loss})
        if method.stop_training and step + 1 < end:
            return step + 1  # the epoch's figures come once it is resumed
    clock.stop()
    logs = {
        "epoch": epoch + 1,
        "step": end,
        **method.monitor.figures(),
        **method.figures(),
        "learning_rate": float(keras.ops.convert_to_numpy(_rate(method))),
        **clock.figures(views.batch_size),
    }
    if end % views.steps_per_epoch == 0:
        method.monitor.next_epoch()
        if views.source.is_stream:
            method.monitor.forget()
    callbacks.on_epoch_end(epoch, logs)
    return end


def _epoch_batches(method, views, epoch, first):
    return distribute(
        method.distribute_strategy,
        lambda **shards: views.batches(
            epoch, start_step=first, order=method.order_snapshot, **shards
        ),
    )


def _rate(method):
    optimizer = method.optimizer
    return getattr(optimizer, "inner_optimizer", optimizer).learning_rate


class _Clock:
    """Seconds of training and of reassignment in an epoch.

    The host does not wait for a step's loss: on a GPU the next step is sent
    meanwhile.
    """

    def __init__(self):
        self.reassign_seconds = 0.0
        self.steps = 0
        self._loss: Any = None
        self._waits: list[float] = []  # seconds
        self._start()

    def reassign(self, method, step):
        if method.reassign_due(step):
            began = time.perf_counter()
            method.reassign(method.extract)
            self.reassign_seconds += time.perf_counter() - began

    def train(self, method, batches, step):
        batch = self._next(batches)
        self._loss, rows = method.train_function(batch)
        if method.after_step_due(step):
            method.after_step({k: v.numpy() for k, v in rows.items()})
        self.steps += 1
        return self._loss

    def _next(self, batches):
        """The next batch; now and then measures how long an idle device waits.

        At other times the host is ahead of the device, which is still busy.
        """
        if self.steps % _PROBE_STEPS != 1:
            return next(batches)
        float(self._loss)
        if self.steps == 1:
            # The first step of an epoch also traces or fills the pipeline.
            self._start()
        began = time.perf_counter()
        batch = next(batches)
        self._waits.append(time.perf_counter() - began)
        return batch

    def _start(self):
        self._began = time.perf_counter() - self.reassign_seconds

    def stop(self):
        """Waits for the last step."""
        float(self._loss)
        passed = time.perf_counter() - self._began
        self._seconds = passed - self.reassign_seconds

    def figures(self, batch_size):
        """Figures of all steps except the first, and of the time between."""
        seconds = self._seconds / max(1, self.steps - 1)
        wait = sum(self._waits) / max(1, len(self._waits))
        return {
            "images_per_second": batch_size / seconds,
            "step_milliseconds": 1000 * max(0.0, seconds - wait),
            "input_wait_milliseconds": 1000 * wait,
            "reassign_seconds": self.reassign_seconds,
        }
