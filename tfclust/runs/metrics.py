"""The files with a run's figures: `metrics.jsonl` and TensorBoard events."""

import contextlib
import errno
import json
import os
import pathlib
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfclust.engine.figures import FIGURES, names
from tfclust.engine.history import EpochHistory
from tfclust.runs import folder
from tfclust.runtime import files, folders, terminal

_BUCKETS = 30  # of a histogram, as TensorBoard's own


class Metrics(keras.callbacks.Callback):
    """`metrics.jsonl`, one object per epoch, and TensorBoard's event files.

    Args:
      workdir: the run's folder.
      start_step: int, the step from which it resumes; figures of later steps
        are dropped, because they will come again.
      say: called with a sentence on anything in the two that is not the run's;
        a file with such lines is kept under another name.

    Attributes:
      history: the run's `EpochHistory`, of the epochs up to `start_step`; a
        callback that comes before.
    """

    def __init__(self, workdir, start_step, say=terminal.say):
        super().__init__()
        self.path = pathlib.Path(workdir) / folder.METRICS
        self.folder = pathlib.Path(workdir) / folder.TENSORBOARD
        found, foreign = _read(self.path)
        self.history = EpochHistory(
            figures for figures in found if figures["step"] <= start_step
        )
        if foreign:
            say(_in_words(foreign, self.path))
        with self._writing():
            if foreign and not foreign.cut_alone:
                why = "not all of it belongs to a run"
                folders.set_aside(self.path, why, say)
            lines = "".join(json.dumps(f) + "\n" for f in self.history.epochs)
            files.write_text(self.path, lines)
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
        figures = self.history.epochs[-1]
        with self._writing():
            # On the disk before the checkpoint that relies on it.
            files.append_line(self.path, json.dumps(figures))
            self._write_events(figures)

    def _write_events(self, figures):
        with _as_os_error():
            with self.writer.as_default():
                for name, value in figures.items():
                    if value is not None and not FIGURES[name].whole:
                        _write_scalar(name, value, figures["step"])
                monitor = getattr(self.model, "monitor", None)
                for head, sizes in enumerate(getattr(monitor, "sizes", ())):
                    name = f"cluster_sizes/head_{head}"
                    _write_histogram(name, sizes, figures["step"])
            self.writer.flush()

    def _writing(self):
        return folders.writing(
            f"the figures in {self.path.parent}",
            "Its checkpoints are unchanged. Make room, and the same command "
            "resumes from the last of them.",
        )

    def on_train_end(self, logs=None):
        self.writer.close()


def read_metrics(workdir, last_step=None):
    """The epochs' figures of a run, up to `last_step` if given.

    Lines that are not figures of a later epoch than those before are left out.
    """
    history, _ = _read(pathlib.Path(workdir) / folder.METRICS)
    if last_step is None:
        return history
    return [figures for figures in history if figures["step"] <= last_step]


class _Foreign(NamedTuple):
    """Lines in `metrics.jsonl` that no run has completely written."""

    lines: list  # from 1
    cut_alone: bool  # only a last line without an end, from a killed run


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
        numbers = [figures[name] for name in names("always")]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    whole = all(type(figures[name]) is int for name in names("whole"))
    real = all(type(number) in (int, float) for number in numbers)
    others = (v for name, v in figures.items() if name in FIGURES)
    given = all(v is None or type(v) in (int, float) for v in others)
    return figures if whole and real and given else None


def _in_words(foreign, path):
    shown = ", ".join(map(str, foreign.lines[:5]))
    if len(foreign.lines) > 5:
        shown += f" and {len(foreign.lines) - 5} more"
    if not foreign.lines:
        return f"Left out: {path} is a folder."
    if foreign.cut_alone:
        return f"Left out: line {shown} of {path}, which is incomplete."
    return f"Left out: no figures of an epoch in line {shown} of {path}."


@contextlib.contextmanager
def _as_os_error():
    """A context that turns TensorFlow's errors on files into Python's."""
    try:
        yield
    except tf.errors.OpError as error:
        # "{{node}} path; No space left on device", and more lines.
        reason = error.message.splitlines()[0].rpartition("; ")[2]
        raise OSError(errno.EIO, reason) from error


def _write_scalar(name, value, step):
    """A TensorBoard scalar; `tf.summary.scalar` needs TensorBoard installed."""
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "scalars"
    tf.summary.write(name, tf.constant(value, tf.float32), step, metadata)


def _write_histogram(name, values, step):
    """A TensorBoard histogram, rows (left, right, count) of equal width."""
    counts, edges = np.histogram(values, _BUCKETS)
    rows = np.stack([edges[:-1], edges[1:], counts], axis=1)
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "histograms"
    tf.summary.write(name, tf.constant(rows, tf.float64), step, metadata)
