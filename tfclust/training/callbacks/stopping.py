"""Why a run ends before its last step: a request, NaN, or trouble."""

import contextlib
import signal

import keras
import numpy as np
import tensorflow as tf

from tfclust.engine import trouble


class StopRequest:
    """Whether Ctrl-C or `kill` has asked the run to save and end."""

    def __init__(self):
        self.asked = False

    @contextlib.contextmanager
    def listening(self):
        """Handles the two signals; a second Ctrl-C ends at once."""
        signals = (signal.SIGINT, signal.SIGTERM)
        try:
            before = [signal.signal(s, self._ask) for s in signals]
        except ValueError:  # only the main thread receives signals
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


class Losses:
    """Losses that are still on the device, checked many at a time.

    Reading a loss waits for its step, and a GPU is idle until the next step is
    sent to it. A hundred unread losses cost one wait and one transfer, and the
    first bad one is still reported with its step.
    """

    look_steps = 100  # at most this many steps are trained after a bad one

    def __init__(self):
        self._steps: list[int] = []
        self._unread: list = []

    def add(self, step, loss):
        """Keeps the loss of a step; returns whether it is time to check."""
        self._steps.append(step)
        self._unread.append(loss)
        return len(self._unread) >= self.look_steps

    def first_bad(self):
        """The first unread (step, loss) that is not a number, or None.

        They count as read afterwards.
        """
        steps, unread = self._steps, self._unread
        self._steps, self._unread = [], []
        if not unread:
            return None
        losses = tf.stack(unread).numpy()
        bad = np.flatnonzero(~np.isfinite(losses))
        return (steps[bad[0]], float(losses[bad[0]])) if len(bad) else None


def broken_array(arrays, unknown_as_nan=()):
    """Name of a floating array that holds NaN or infinity, or None.

    The loss of a step is computed before its update: an update that broke the
    weights shows only in the next loss, which may come after a checkpoint. And
    batch norm's `moving_variance` shows in no loss at all: a batch variance
    that overflows makes it infinite, while the normalised values stay finite.

    Args:
      arrays: `{name: array}`, a method's state.
      unknown_as_nan: names of arrays in which NaN means "not yet".
    """
    for name, array in arrays.items():
        floating = array.size and tf.as_dtype(array.dtype).is_floating
        if not floating or name in unknown_as_nan:
            continue
        # Both pass on NaN, and need no mask as large as a bank of images.
        if not np.isfinite([array.min(), array.max()]).all():
            return name
    return None


class TroubleWatch(keras.callbacks.Callback):
    """Ends a run whose trouble lasts; comes before the `Saver`.

    Args:
      history: the run's `EpochHistory`, which comes before.
      config: the method's config.
      facts: `RunFacts`.
      since: int; epochs up to this step do not count.
    """

    def __init__(self, history, config, facts, since=0):
        super().__init__()
        self.history, self.config, self.facts = history, config, facts
        self.since = since
        self.found: trouble.Trouble | None = None  # why it ended the run

    def on_epoch_end(self, epoch, logs=None):
        epochs = [f for f in self.history.epochs if f["step"] > self.since]
        self.found = trouble.lasting(epochs, self.config, self.facts)
        if self.found:
            self.model.stop_training = True
