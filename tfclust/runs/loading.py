"""Builds methods from recipes, and loads runs from their folders."""

import dataclasses
import pathlib
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfclust import backbones, methods, optimizers
from tfclust.engine.clustering import ClusteringMethod
from tfclust.engine.loop import total_steps as steps_of
from tfclust.engine.monitor import final_labels
from tfclust.runs import checkpoints, folder, recipes
from tfclust.runs.recipes import Recipe
from tfclust.runtime import devices, folders


class Run(NamedTuple):
    """A run read from its folder."""

    recipe: Recipe
    method: methods.Method
    workdir: pathlib.Path
    step: int
    num_images: int
    data_digest: str  # of the images, `Source.manifest_hash`
    final_labels: np.ndarray | None  # int [N, H], of methods with clusters


class RememberedViews(NamedTuple):
    """What memories need to know about a run's views without its images."""

    num_images: int
    batch_size: int
    num_views: int
    num_global_views: int
    steps_per_epoch: int
    image_size: int
    resize_size: int
    seed: int


def load_run(workdir, strategy=None):
    """Loads a run from its newest complete checkpoint.

    Args:
      workdir: the run's folder.
      strategy: `tf.distribute.Strategy`; None for one device.

    Returns:
      `Run`, whose method is as it was when it was saved.

    Raises:
      FileNotFoundError: if there is no checkpoint.
      DamagedCheckpoint: if all of them are damaged.
      UnreadableCheckpoint: if one may be intact but cannot be read now.
    """
    workdir = folders.expanded(workdir)
    saved = checkpoints.latest(workdir)
    if saved is None:
        raise folder.no_run(workdir)
    recipe = recipes.from_words(saved.about["recipe"])
    facts = recipe._replace(backbone=without_init(recipe.backbone))
    views = RememberedViews(**saved.about["views"])
    strategy = strategy or tf.distribute.get_strategy()
    method = build_method(facts, views, strategy)
    method.load_state(saved.arrays)
    return Run(
        recipe,
        method,
        workdir,
        saved.step,
        views.num_images,
        saved.about["data_digest"],
        final_labels(saved.arrays)
        if isinstance(method, ClusteringMethod)
        else None,
    )


def untrained_backbone(recipe):
    """The backbone as at the run's start, with random weights of its seed."""
    config = without_init(recipe.backbone)
    with devices.precision(recipe.run.mixed_precision):
        keras.utils.set_random_seed(recipe.run.seed)
        return backbones.from_config(config, image_size=recipe.largest_view)


def build_method(recipe, views, strategy, say=None):
    """The method of a recipe, compiled, with memories and optimizer slots.

    Args:
      recipe: a `Recipe`.
      views: `data.Views`, or what is remembered of them.
      strategy: a `tf.distribute.Strategy`.
      say: called with a sentence on the weights to start from.
    """
    run = recipe.run
    replicas = strategy.num_replicas_in_sync
    with devices.precision(run.mixed_precision), strategy.scope():
        keras.utils.set_random_seed(run.seed)
        backbone = backbones.from_config(
            recipe.backbone, image_size=recipe.largest_view, say=say
        )
        optimizer = optimizers.build(
            recipe.optimizer,
            steps_per_epoch=views.steps_per_epoch,
            total_steps=steps_of(views, run.epochs, run.steps),
        )
        method = methods.METHODS[run.method](backbone, recipe.method)
        jit_compile = run.jit_compile
        if jit_compile is None:
            # On CPU XLA makes convolutions slower; replicas cannot share a
            # step.
            on_gpu = bool(tf.config.list_physical_devices("GPU"))
            jit_compile = on_gpu and replicas == 1
        method.compile(optimizer=optimizer, jit_compile=jit_compile)
        method.prepare(views)
    return method


def without_init(config):
    """The backbone's config, but with random initial weights."""
    return dataclasses.replace(config, init_from="", init_stages=None)
