"""What a run says while it trains: a line per epoch, and sentences on it."""

import re
import time

import keras
import numpy as np

from tfclust.engine.figures import FIGURES, in_words, names
from tfclust.engine.health import health
from tfclust.engine.pace import Pace
from tfclust.runtime import progress, terminal

_REDRAW_SECONDS = 0.2
_VALUE = re.compile("=[^)]*")  # of a flag that is advised


class Console(keras.callbacks.Callback):
    """A line per epoch, sentences on it, and a moving line on a terminal.

    Args:
      history: the run's `EpochHistory`, which comes before.
      config: the method's config.
      facts: `RunFacts`.
      start_step: int, steps done before.
    """

    def __init__(self, history, config, facts, start_step):
        super().__init__()
        self.history, self.config, self.facts = history, config, facts
        self.pace = Pace(facts, start_step)
        self.line = progress.line(
            "", facts.total_steps, form="{desc}", after=0.0
        )
        self.terminal = not self.line.disable
        self.drawn = 0.0
        self.told: list[str] = []

    def on_train_begin(self, logs=None):
        # Between its making and here, other callbacks have begun.
        second = self.facts.steps_per_epoch  # epoch's first step
        again = self.model.reassign_due(second)
        again = again and not self.model.labels_from_memory
        self.pace = Pace(self.facts, self.pace.step, labels_again=again)

    def on_train_batch_begin(self, batch, logs=None):
        self.pace.step_begins()

    def on_train_batch_end(self, batch, logs=None):
        self.pace.step_ends()
        now = time.perf_counter()
        if self.terminal and now - self.drawn > _REDRAW_SECONDS:
            self.drawn = now
            done = f"step {self.pace.step:,} of {self.facts.total_steps:,}"
            parts = [done, *self.speed(), *self.left()]
            parts.append(f"loss {logs['loss']:.3f}")
            self.line.set_description_str(" · ".join(parts))

    def speed(self):
        """Images per second as words, in a list; empty if unknown."""
        images = self.pace.images_per_second()
        return [] if images is None else [f"{images:,.0f} images/s"]

    def left(self):
        """Time left as words, in a list; empty if unknown."""
        seconds = self.pace.seconds_left()
        return [] if seconds is None else [f"{duration(seconds)} left"]

    def on_epoch_end(self, epoch, logs=None):
        self.pace.epoch_ends()
        epochs = self.history.epochs
        self.say(epoch_line(epochs[-1], self.config))
        if not self.terminal and self.pace.step < self.facts.total_steps:
            for left in self.left():
                self.say(f"  {left}")
        told, self.told = self.told, health(epochs, self.config, self.facts)
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

    Each that has one stands beside its chance level: what blind guessing gives.

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
    parts.append(f"{loss} ({share} of blind guessing)" if share else loss)
    clusters = told.get("effective_clusters")
    if clusters:
        count = np.mean(config.num_clusters)
        parts.append(f"{clusters} of {count:,.0f} clusters in use")
    said = [name for name in names("said") if name in told]
    # Speeds come last.
    for name in sorted(said, key=lambda name: FIGURES[name].timed):
        parts.append(FIGURES[name].said.format(told[name], **told))
    return " · ".join(parts)


def duration(seconds):
    """`90` as "1 min 30 s"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _parted(sentence):
    """A sentence of `health` as symptom, and remedy without its values."""
    symptom, _, remedy = sentence.partition(". ")
    return symptom, _VALUE.sub("", remedy)
