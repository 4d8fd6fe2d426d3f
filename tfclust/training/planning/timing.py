"""How long a recipe's steps take here, by doing some."""

import resource
import sys
import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfclust import evaluation
from tfclust.data import Sample
from tfclust.runs.loading import build_method
from tfclust.runtime import devices
from tfclust.training import given_labels, images

_SECONDS = 6.0  # of steps that are timed, to the end of the epoch if it is
_MOST_SECONDS = 15.0  # not longer than this
_LEAST_STEPS, _MOST_STEPS = 4, 200
_WARM_STEPS = 2  # the first traces, the second fills pipelines
_SAMPLE = 4096  # images that stand for all
_KNN_SAMPLE = 512  # images on which the online kNN is timed
_CHECKPOINT_SECONDS = 0.3  # and an epoch's figures


class Timing(NamedTuple):
    """What a run's parts take, measured on this machine."""

    start_seconds: float  # until the first step is done
    step_seconds: float
    label_seconds: float  # of the labels that an epoch needs
    figures_seconds: float  # of a checkpoint and a kNN
    peak_bytes: int  # of the process that measured

    def seconds(self, steps, epochs, every):
        """A run's time.

        Args:
          steps: int. epochs: float.
          every: int, epochs between two checkpoints and kNN.
        """
        return (
            self.start_seconds
            + steps * self.step_seconds
            + epochs * self.label_seconds
            + epochs / every * self.figures_seconds
        )


def measure(recipe, source):
    """The `Timing` of a recipe: builds it and trains for some seconds.

    Labels before an epoch and the kNN are measured on at most 4,096 images, and
    their time is taken to grow with the images.

    Args:
      recipe: a `Recipe` whose length does not matter.
      source: `data.Source`.
    """
    whole = source.num_images
    rows = np.arange(min(whole, _SAMPLE)) * whole // min(whole, _SAMPLE)
    labels = None
    if recipe.method.labels_from is not None:
        other = given_labels.open_run(recipe)
        given = given_labels.read(recipe, other, source)
        recipe = given_labels.with_classes(recipe, given.num_clusters)
        labels = given.labels[rows]
    if whole > _SAMPLE:
        source = Sample(source, rows)
    run, grown = recipe.run, whole / source.num_images
    strategy = devices.make_strategy(run.strategy, run.num_replicas)
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
    total = run.steps or run.epochs * (whole // run.batch_size)
    label_seconds = _label_seconds(method, max(2, int(total / grown)))
    return Timing(
        start_seconds=start_seconds,
        step_seconds=watch.step_seconds(),
        label_seconds=grown * label_seconds,
        figures_seconds=_CHECKPOINT_SECONDS
        + min(whole, run.knn_images) * _knn_image_seconds(method, source),
        peak_bytes=_peak_bytes(),
    )


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


def _label_seconds(method, total_steps):
    """What labels take in an epoch that is not the first.

    The first also compiles, and DeepCluster-v2's fills its bank.

    Args:
      method: a `Method` that has been trained for some steps.
      total_steps: int, of the run whose labels are counted.
    """
    per_epoch = method.views.steps_per_epoch
    method.total_steps = total_steps
    times = sum(method.reassign_due(step) for step in range(1, total_steps))
    if not times:
        return 0.0
    method.epoch.assign(1)
    began = time.perf_counter()
    method.reassign(method.extract)
    seconds = time.perf_counter() - began
    return seconds * times * per_epoch / total_steps


def _knn_image_seconds(method, source):
    """Of one image in an online kNN; 0 where there is none."""
    if source.labels is None:
        return 0.0
    views = method.views
    few = Sample(source, np.arange(min(_KNN_SAMPLE, source.num_images)))
    forward = evaluation.FeaturePass(
        lambda pixels: method.backbone(pixels, training=False),
        few,
        image_size=views.image_size,
        resize_size=views.resize_size,
        batch_size=views.batch_size,
    )
    forward.features()  # the first pass also traces
    began = time.perf_counter()
    forward.features()
    return (time.perf_counter() - began) / few.num_images


def _peak_bytes():
    """The most memory that this process has had, or its GPU."""
    if tf.config.list_physical_devices("GPU"):
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
