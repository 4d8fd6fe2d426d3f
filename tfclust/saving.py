"""When a run saves: at epochs' ends, at steps, and when it is asked to stop."""

import contextlib
import math
import signal

import keras

from tfclust import checkpoints, devices


class StopRequest:
    """Whether Ctrl-C or `kill` has asked the run to save and end."""

    def __init__(self):
        self.asked = False

    @contextlib.contextmanager
    def listening(self):
        """Takes the two signals; a second Ctrl-C ends at once."""
        signals = (signal.SIGINT, signal.SIGTERM)
        try:
            before = [signal.signal(s, self._ask) for s in signals]
        except ValueError:  # not the main thread, which alone hears signals
            yield self
            return
        try:
            yield self
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)

    def _ask(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


class Saver(keras.callbacks.Callback):
    """Saves at epochs' ends, at steps, and when asked to stop.

    Args:
      workdir: the run's folder; None on hosts that do not write.
      about: dict, kept in the manifest.
      stop: a `StopRequest`.
      total_steps, steps_per_epoch, start_step: int.
      every_epochs: int. every_steps: int, 0 for epochs alone.
      keep: int, checkpoints to leave.
    """

    def __init__(
        self,
        workdir,
        about,
        stop,
        *,
        total_steps,
        steps_per_epoch,
        start_step=0,
        every_epochs=1,
        every_steps=0,
        keep=2,
    ):
        super().__init__()
        self.workdir, self.about, self.stop = workdir, about, stop
        self.total_steps, self.steps_per_epoch = total_steps, steps_per_epoch
        self.every_epochs, self.every_steps = every_epochs, every_steps
        self.keep = keep
        self.saved_step = start_step

    def on_train_batch_end(self, batch, logs=None):
        done = batch + 1
        self._refuse_nonsense(done, logs["loss"])
        if self._epoch_ends(done):
            return  # its figures come first
        if self._must_stop():
            self.model.stop_training = True
            self._save(done)
        elif self.every_steps and done % self.every_steps == 0:
            self._save(done)

    def on_epoch_end(self, epoch, logs=None):
        done = int(logs["step"])
        if self._must_stop():
            self.model.stop_training = True
        due = (epoch + 1) % self.every_epochs == 0
        if due or self.model.stop_training or done == self.total_steps:
            self._save(done)

    def _epoch_ends(self, done):
        return done % self.steps_per_epoch == 0 or done == self.total_steps

    def _must_stop(self):
        strategy = self.model.distribute_strategy
        return devices.any_host(strategy, self.stop.asked)

    def _save(self, done):
        self.saved_step = done
        if self.workdir is not None:
            checkpoints.save(
                self.workdir,
                done,
                self.model.state(),
                about=self.about,
                keep=self.keep,
            )

    def _refuse_nonsense(self, done, loss):
        if math.isfinite(loss):
            return
        saved = f"step {self.saved_step}" if self.saved_step else "none"
        raise ValueError(
            f"the loss is {loss} at step {done}; nothing can be learnt from "
            f"here. Last good checkpoint: {saved}. Lower learning_rate, or "
            "warm up longer (warmup_epochs)."
        )
