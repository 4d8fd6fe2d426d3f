"""What a run tells while it trains: files of figures, and lines to read."""

import contextlib
import errno
import json
import math
import os
import pathlib
import sys
import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfclust.runs.health import health
from tfclust.runtime import folders, terminal

# The order in metrics.jsonl; whole numbers first.
COUNTS = ("epoch", "step")
FIGURES = (
    "loss",
    "loss_over_log_k",
    "effective_clusters",
    "empty_clusters",
    "largest_cluster_share",
    "changed_share",
    "nmi_previous",
    "learning_rate",
    "images_per_second",
    "step_milliseconds",
    "input_wait_milliseconds",
    "reassign_seconds",
    "knn_accuracy",
    "nmi_labels",
    "ari_labels",
)
# Those that only some methods have, by their `figures`.
METHOD_FIGURES = (
    "pseudo_label_nmi",
    "found_clusters",
    "unlabelled_share",
    "smallest_label_cluster",
    "largest_label_cluster",
    "label_mass_error",
    "label_passes",
)
# Those that differ from run to run, also where every bit is the same.
TIMES = (
    "images_per_second",
    "step_milliseconds",
    "input_wait_milliseconds",
    "reassign_seconds",
)
# Those that every epoch of every method has as a number.
_ALWAYS = (
    *COUNTS,
    "loss",
    "loss_over_log_k",
    "effective_clusters",
    "empty_clusters",
    "largest_cluster_share",
)
_KNOWN = {*COUNTS, *FIGURES, *METHOD_FIGURES}
METRICS_FILE, TENSORBOARD_FOLDER = "metrics.jsonl", "tensorboard"
_REDRAW_SECONDS = 0.2


class Metrics(keras.callbacks.Callback):
    """`metrics.jsonl`, an object an epoch, and TensorBoard's event files.

    Args:
      workdir: the run's folder.
      start_step: int, the step that it goes on from; figures of later ones are
        dropped, for they come again.
      say: called with a sentence on what in the two is not the run's; a file
        with such lines stays under another name.
    """

    def __init__(self, workdir, start_step, say=terminal.say):
        super().__init__()
        self.path = pathlib.Path(workdir) / METRICS_FILE
        self.folder = pathlib.Path(workdir) / TENSORBOARD_FOLDER
        found, foreign = _read(self.path)
        self.history = [f for f in found if f["step"] <= start_step]
        if foreign:
            say(_in_words(foreign, self.path))
        with self._writing():
            if foreign and not foreign.cut_alone:
                why = "not all of it is of a run"
                folders.set_aside(self.path, why, say)
            _write_lines(self.path, self.history)
            self._begin_events(start_step, say)

    def _begin_events(self, start_step, say):
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            folders.set_aside(self.folder, "it must be a folder", say)
        if not start_step:
            for events in self.folder.glob("events.out.tfevents.*"):
                events.unlink(missing_ok=True)
        with _as_os_error():
            self.writer = tf.summary.create_file_writer(str(self.folder))

    def on_epoch_end(self, epoch, logs=None):
        figures = epoch_figures(logs)
        self.history.append(figures)
        with self._writing():
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(figures) + "\n")
                file.flush()
                # On the disk before the checkpoint that counts on it.
                os.fsync(file.fileno())
            self._write_scalars(figures)

    def _write_scalars(self, figures):
        with _as_os_error():
            with self.writer.as_default():
                for name, value in figures.items():
                    if value is not None and name not in COUNTS:
                        _write_scalar(name, value, figures["step"])
            self.writer.flush()

    def _writing(self):
        return folders.writing(
            f"the figures in {self.path.parent}",
            "Its checkpoints are as they were. Make room, and the same command "
            "goes on from the last of them.",
        )

    def on_train_end(self, logs=None):
        self.writer.close()


class Console(keras.callbacks.Callback):
    """A line an epoch, sentences on it, and a moving line on a terminal.

    Args:
      history: list of the epochs' figures, the latest last.
      config: the method's config.
      total_steps, start_step, batch_size: int.
    """

    def __init__(self, history, config, *, total_steps, start_step, batch_size):
        super().__init__()
        self.history, self.config = history, config
        self.total_steps, self.batch_size = total_steps, batch_size
        self.first_step = self.step = start_step
        self.terminal = sys.stderr.isatty()
        self.began = self.drawn = 0.0
        self.told: list[str] = []

    def on_train_batch_begin(self, batch, logs=None):
        # The first step traces; time runs from the second.
        if batch == self.first_step + 1:
            self.began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.step = batch + 1
        now = time.perf_counter()
        if self.terminal and now - self.drawn > _REDRAW_SECONDS:
            self.drawn = now
            done = f"step {self.step:,} of {self.total_steps:,}"
            parts = [done, *self.pace(now), f"loss {logs['loss']:.3f}"]
            sys.stderr.write("\r\033[K" + " · ".join(parts))
            sys.stderr.flush()

    def pace(self, now):
        """Images a second and time left, as words; none for the first step."""
        timed = self.step - self.first_step - 1
        if timed < 1 or not self.began:
            return []
        seconds = (now - self.began) / timed
        left = duration(seconds * (self.total_steps - self.step))
        return [f"{self.batch_size / seconds:,.0f} images/s", f"{left} left"]

    def on_epoch_end(self, epoch, logs=None):
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
        self.say(end="")

    def say(self, words="", end="\n"):
        """Writes a line in place of the moving one."""
        if self.terminal:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
        print(terminal.one_line(words), end=end, flush=True)


def epoch_figures(logs):
    """An epoch's figures as `metrics.jsonl` has them: ordered, JSON's types."""
    figures: dict = {name: int(logs[name]) for name in COUNTS}
    for name in (*FIGURES, *METHOD_FIGURES):
        if name in logs:
            value = logs[name]
            number = value is not None and math.isfinite(value)
            figures[name] = float(value) if number else None
    return figures


def read_metrics(workdir, last_step=None):
    """The epochs' figures of a run, up to `last_step` where given.

    Lines that are no figures of a later epoch than those before are left out.
    """
    history, _ = _read(pathlib.Path(workdir) / METRICS_FILE)
    if last_step is None:
        return history
    return [figures for figures in history if figures["step"] <= last_step]


class _Foreign(NamedTuple):
    """What in `metrics.jsonl` no run has written whole."""

    lines: list  # from 1
    cut_alone: bool  # but for a last line without an end, of a killed run


def _read(path):
    """The epochs' figures of a file, and `_Foreign` or None."""
    try:
        lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return [], None
    except IsADirectoryError:
        return [], _Foreign([], False)
    history, foreign, last = [], [], -1
    for number, line in enumerate(lines, 1):
        figures = _parsed(line)
        if figures is not None and figures["step"] > last:
            history.append(figures)
            last = figures["step"]
        elif line.strip():
            foreign.append(number)
    if not foreign:
        return history, None
    return history, _Foreign(foreign, foreign == [len(lines)])


def _parsed(line):
    """A line's figures; None if they are not an epoch's."""
    try:
        figures = json.loads(line)
        numbers = [figures[name] for name in _ALWAYS]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    whole = all(type(figures[name]) is int for name in COUNTS)
    real = all(type(number) in (int, float) for number in numbers)
    others = (v for name, v in figures.items() if name in _KNOWN)
    given = all(v is None or type(v) in (int, float) for v in others)
    return figures if whole and real and given else None


def _in_words(foreign, path):
    shown = ", ".join(map(str, foreign.lines[:5]))
    if len(foreign.lines) > 5:
        shown += f" and {len(foreign.lines) - 5} more"
    if not foreign.lines:
        return f"Left out: {path} is a folder."
    if foreign.cut_alone:
        return f"Left out: line {shown} of {path}, which ends within it."
    return f"Left out: no figures of an epoch in line {shown} of {path}."


@contextlib.contextmanager
def _as_os_error():
    """What TensorFlow says of a file, as Python would say it."""
    try:
        yield
    except tf.errors.OpError as error:
        # "{{node}} path; No space left on device", and more lines.
        reason = error.message.splitlines()[0].rpartition("; ")[2]
        raise OSError(errno.EIO, reason) from error


def epoch_line(figures, config):
    """The figures of an epoch in one line."""
    count = np.mean(config.num_clusters)
    share = f"{figures['loss_over_log_k']:.2f} of ln K"
    parts = [
        f"epoch {figures['epoch']}",
        f"loss {figures['loss']:.3f} ({share})",
        f"{figures['effective_clusters']:.1f} of {count:g} clusters",
    ]
    if figures.get("changed_share") is not None:
        parts.append(f"{figures['changed_share']:.0%} changed cluster")
    if figures.get("knn_accuracy") is not None:
        parts.append(f"kNN {figures['knn_accuracy']:.1%}")
    if figures.get("nmi_labels") is not None:
        parts.append(f"NMI to labels {figures['nmi_labels']:.2f}")
    parts.append(f"{figures['images_per_second']:,.0f} images/s")
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


def _write_lines(path, objects):
    lines = "".join(json.dumps(entry) + "\n" for entry in objects)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(lines, encoding="utf-8")
    partial.replace(path)


def _write_scalar(name, value, step):
    """A TensorBoard scalar; `tf.summary.scalar` needs TensorBoard installed."""
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "scalars"
    tf.summary.write(name, tf.constant(value, tf.float32), step, metadata)
