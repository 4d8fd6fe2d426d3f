"""What a run says while it trains: a line per epoch, and sentences on it."""

import time

import keras
import numpy as np

from tfclust.engine.figures import FIGURES, epoch_figures, in_words, names
from tfclust.engine.health import health
from tfclust.runtime import progress, terminal

_REDRAW_SECONDS = 0.2


class Console(keras.callbacks.Callback):
    """A line per epoch, sentences on it, and a moving line on a terminal.

    Args:
      config: the method's config.
      total_steps, start_step, batch_size: int.
      history: figures of the epochs before, the latest last.
    """

    def __init__(
        self, config, *, total_steps, start_step, batch_size, history=()
    ):
        super().__init__()
        self.history, self.config = list(history), config
        self.total_steps, self.batch_size = total_steps, batch_size
        self.first_step = self.step = start_step
        self.line = progress.line("", total_steps, form="{desc}", after=0.0)
        self.terminal = not self.line.disable
        self.began = self.drawn = 0.0
        self.told: list[str] = []

    def on_train_batch_begin(self, batch, logs=None):
        # The first step traces; the clock starts at the second.
        if batch == self.first_step + 1:
            self.began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.step = batch + 1
        now = time.perf_counter()
        if self.terminal and now - self.drawn > _REDRAW_SECONDS:
            self.drawn = now
            done = f"step {self.step:,} of {self.total_steps:,}"
            parts = [done, *self.pace(now), f"loss {logs['loss']:.3f}"]
            self.line.set_description_str(" · ".join(parts))

    def pace(self, now):
        """Images per second and time left, as words; none in the first step."""
        timed = self.step - self.first_step - 1
        if timed < 1 or not self.began:
            return []
        seconds = (now - self.began) / timed
        left = duration(seconds * (self.total_steps - self.step))
        return [f"{self.batch_size / seconds:,.0f} images/s", f"{left} left"]

    def on_epoch_end(self, epoch, logs=None):
        self.history.append(epoch_figures(logs))
        self.say(epoch_line(self.history[-1], self.config))
        left = self.pace(time.perf_counter())[1:]
        if left and not self.terminal and self.step < self.total_steps:
            self.say(f"  {left[0]}")
        told, self.told = self.told, health(self.history, self.config)
        remedies = {_parted(sentence)[1] for sentence in told}
        for sentence in self.told:
            symptom, remedy = _parted(sentence)
            again = remedy in remedies
            self.say(f"  {symptom} (as before)." if again else f"  {sentence}")

    def on_train_end(self, logs=None):
        self.line.close()

    def say(self, words):
        """Writes a line in place of the moving one."""
        self.line.clear()
        terminal.say(words)


def epoch_line(figures, config):
    """The figures of an epoch in one line, without those that it lacks.

    "of chance" is the loss divided by that of uniform predictions.

    Args:
      figures: dict, as in `metrics.jsonl`.
      config: the method's config.
    """
    told = {
        name: in_words(name, value)
        for name, value in figures.items()
        if value is not None
    }
    loss, share = f"loss {told['loss']}", told.get("loss_over_log_k")
    parts = [f"epoch {told['epoch']}"]
    parts.append(f"{loss} ({share} of chance)" if share else loss)
    clusters = told.get("effective_clusters")
    if clusters:
        count = np.mean(config.num_clusters)
        parts.append(f"{clusters} of {count:g} clusters")
    said = [name for name in names("said") if name in told]
    # Speeds come last.
    for name in sorted(said, key=lambda name: FIGURES[name].timed):
        parts.append(FIGURES[name].said.format(told[name]))
    return " · ".join(parts)


def duration(seconds):
    """`90` as "1 min 30 s"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _parted(sentence):
    """A sentence of `health` as symptom and remedy."""
    symptom, _, remedy = sentence.partition(". ")
    return symptom, remedy
