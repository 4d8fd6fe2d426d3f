"""The epoch loop, over (start epoch, start step).

Keras's own loop builds the next epoch's iterator before `on_epoch_begin`, so
prefetched batches would have an old order, and it cannot start inside an epoch.
Here an epoch's dataset is made after `begin_epoch` and `reassign`, and (seed,
step) is the whole position in the data.
"""

import time
from typing import Any

import keras

from tfclust.runtime import sharing

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
    return sharing.distribute(
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
