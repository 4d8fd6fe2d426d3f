"""How long a recipe's steps take here, by doing some."""

import dataclasses
import resource
import sys
import time
import types
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfclust import data, evaluation, methods
from tfclust.data.sources.shrunk import ShrunkSource
from tfclust.engine import state
from tfclust.runs.loading import build_method
from tfclust.training import given_labels, images
from tfclust.training.callbacks.label_figures import fits

_SECONDS = 6.0  # of steps that are timed, to the end of the epoch if it is
_MOST_SECONDS = 15.0  # not longer than this
_LEAST_STEPS, _MOST_STEPS = 4, 200
_WARM_STEPS = 2  # the first traces, the second fills pipelines
_SAMPLE = 4096  # images that stand for all
_MINIATURE = 64  # steps of an epoch in which label steps are counted
_PASSED = 512  # images whose pass through the network is timed
CHECKPOINT_SECONDS = 0.3
# Its figures, its line and its files: 0.17 s of 22 steps on 1,433 digits, 0.4 s
# of five on 320 photos, of which the steps that are timed here have a part.
EPOCH_SECONDS = 0.2


class Timing(NamedTuple):
    """What a run's parts take, measured on this machine."""

    start_seconds: float  # until the first step is done
    step_seconds: float
    label_seconds: float  # of a pass that labels all images, not the first
    knn_seconds: float  # of an online kNN, not the first; 0 if there is none
    end_seconds: float  # of clusters.csv and report.html
    peak_bytes: int  # of a process that trains on all images

    def seconds(self, steps, epochs, passes, run):
        """A run's time.

        Args:
          steps: int.
          epochs: float.
          passes: int, `label_passes`.
          run: `RunConfig`, which has a checkpoint and a kNN at the end in any
            case.
        """
        saved = epochs / run.checkpoint_epochs
        if run.checkpoint_steps:
            saved += steps / run.checkpoint_steps
        return (
            self.start_seconds
            + steps * self.step_seconds
            + epochs * EPOCH_SECONDS
            + passes * self.label_seconds
            + max(1.0, saved) * CHECKPOINT_SECONDS
            + max(1.0, epochs / run.knn_epochs) * self.knn_seconds
            + self.end_seconds
        )


def measure(recipe, source, strategy):
    """The `Timing` of a recipe: builds it and trains for some seconds.

    What is done with each image (reading it into memory, labels, the kNN) is
    measured on at most 4,096 images. Its time, and the memory for it, are taken
    to grow with the images; what is traced and compiled is not.

    Args:
      recipe: a `Recipe` whose length does not matter.
      source: `data.Source`.
      strategy: `tf.distribute.Strategy`.
    """
    all_images, whole = source, source.num_images
    recipe, source, labels = _sampled(recipe, source)
    recipe = recipe._replace(method=recipe.method.timed())
    run, grown = recipe.run, whole / source.num_images
    began = time.perf_counter()
    views = images.make_views(recipe, source, say=lambda words: None)
    method = build_method(recipe, views, strategy)
    if labels is not None:
        method.take_labels(labels)
    watch = _Stopwatch()
    method.fit(
        views,
        steps=min(_MOST_STEPS, 1000 * views.steps_per_epoch),
        callbacks=[watch],
        verbose=0,
    )
    start_seconds = watch.first_step - began
    first_labels, labels = _label_seconds(method)
    start_seconds += (grown - 1) * (_reading_seconds(views) + first_labels)
    read, knn, end = _later_seconds(method, source, whole, run.knn_images)
    return Timing(
        start_seconds=start_seconds + read,
        step_seconds=watch.step_seconds(),
        label_seconds=grown * labels,
        knn_seconds=knn,
        end_seconds=end,
        peak_bytes=_peak_bytes() + _more_bytes(method, all_images),
    )


def label_passes(recipe, facts):
    """Times that a run labels its images after its start, by its method's rule.

    Args:
      recipe: a `Recipe`.
      facts: `PlanFacts`.
    """
    # In miniature: rules count in epochs, and SeLa's takes some time a step.
    per_epoch = min(facts.steps_per_epoch, _MINIATURE)
    total = facts.total_steps * per_epoch // facts.steps_per_epoch
    run: Any = types.SimpleNamespace(
        config=recipe.method,
        total_steps=total,
        views=types.SimpleNamespace(
            steps_per_epoch=per_epoch, num_images=per_epoch, batch_size=1
        ),
    )
    due = methods.METHODS[recipe.run.method].reassign_due
    return sum(due(run, step) for step in range(1, total))


def _sampled(recipe, source):
    """The recipe for at most 4,096 of the images, these, and given labels."""
    whole = source.num_images
    count = min(whole, _SAMPLE)
    rows = np.arange(count) * whole // count
    labels, method = None, recipe.method
    if method.labels_from is not None:
        other = given_labels.open_run(recipe)
        given = given_labels.read(recipe, other, source)
        recipe = given_labels.with_classes(recipe, given.num_clusters)
        labels = given.labels[rows]
    if count == whole:
        return recipe, source, labels
    if labels is None:
        # No more than a part of the images can fill.
        few = tuple(min(k, count // 2) for k in method.num_clusters)
        method = dataclasses.replace(method, num_clusters=few)
        recipe = recipe._replace(method=method)
    return recipe, data.Sample(source, rows), labels


class _Stopwatch(keras.callbacks.Callback):
    """Ends training once enough steps are timed."""

    def __init__(self):
        super().__init__()
        self.first_step = 0.0
        self._steps = []

    def on_train_batch_begin(self, batch, logs=None):
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # waits for the step
        now = time.perf_counter()
        if batch == 0:
            self.first_step = now
        if batch >= _WARM_STEPS:
            self._steps.append(now - self._began)
        self._end_after(_MOST_SECONDS)

    def on_epoch_end(self, epoch, logs=None):
        self._end_after(_SECONDS)

    def _end_after(self, seconds):
        if len(self._steps) >= _LEAST_STEPS and sum(self._steps) > seconds:
            self.model.stop_training = True

    def step_seconds(self):
        """The mean, without the slowest of few that an interruption makes."""
        kept = sorted(self._steps)[: max(1, round(0.9 * len(self._steps)))]
        return float(np.mean(kept)) if kept else 0.0


def _label_seconds(method):
    """What labels of all its images take: the first ones, and later ones.

    Made as before the first epoch, when what compiles has been compiled: steps
    since may have left too few rows in a bank.

    Args:
      method: a `Method` that has been trained for some steps.
    """
    if not method.reassign_due(0):
        return 0.0, 0.0
    extracting = 0.0

    def extract(*args, **kwargs):
        nonlocal extracting
        began = time.perf_counter()
        rows = method.extract(*args, **kwargs)
        extracting += time.perf_counter() - began
        return rows

    method.epoch.assign(0)
    began = time.perf_counter()
    method.reassign(extract)
    first = time.perf_counter() - began
    return first, first - extracting if method.labels_from_memory else first


def _reading_seconds(views):
    """What reading the images into memory took; 0 if they are not kept."""
    return 0.0 if views.stored is None else views.stored.reading_seconds


def _more_bytes(method, source):
    """Memory for the images that were not in what was measured.

    Args:
      method: a trained `Method`.
      source: `data.Source` of all images.
    """
    views = method.views
    measured = views.num_images
    if measured == source.num_images or _has_gpu():  # whose memory is counted
        return 0
    rows = [
        array
        for array in state.arrays_of(method).values()
        if array.shape[:1] == (measured,)
    ]
    an_image = sum(array.nbytes for array in rows) // measured
    an_image += 4 * method.projection_width  # as labels are made from them
    more = (source.num_images - measured) * an_image
    if views.stored is None:
        return more
    kept = ShrunkSource(source, views.config.stored_size)
    return more + kept.is_kept * (kept.num_bytes - views.stored.num_bytes)


def _later_seconds(method, source, whole, knn_images):
    """Of images that are seen outside steps.

    Args:
      method: a trained `Method`. source: `data.Source` of some images.
      whole: int, all images. knn_images: int, as in `RunConfig`.

    Returns:
      Reading those that kNN keeps, once; each kNN; the last pass over all.
    """
    read, computed = _image_seconds(method, source)
    bank = 0 if source.labels is None else min(whole, knn_images)
    end = whole * (read + computed)
    if fits(bank, method.views.image_size):
        return bank * read, bank * computed, end
    return 0.0, bank * (read + computed), end


def _image_seconds(method, source):
    """What reading an image takes, and its way through the network."""
    views = method.views
    few = data.Sample(source, np.arange(min(_PASSED, source.num_images)))
    knobs = {
        "image_size": views.image_size,
        "resize_size": views.resize_size,
        "batch_size": min(views.batch_size, few.num_images),
    }
    began = time.perf_counter()
    for _ in data.evaluation_batches(few, **knobs):
        pass
    read = time.perf_counter() - began
    forward = evaluation.FeaturePass(
        lambda pixels: method.backbone(pixels, training=False),
        few,
        keep=True,
        **knobs,
    )
    forward.features()  # the first pass also reads and compiles
    began = time.perf_counter()
    forward.features()
    passed = time.perf_counter() - began
    return read / few.num_images, passed / few.num_images


def _peak_bytes():
    """The most memory that this process has had, or its GPU."""
    if _has_gpu():
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _has_gpu():
    return bool(tf.config.list_physical_devices("GPU"))
