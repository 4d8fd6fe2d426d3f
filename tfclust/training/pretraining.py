"""From a recipe to a trained method: data, checks, method, resume, the fit.

    recipe = pretraining.make_recipe(
        method="swav", data="digits:", workdir="runs/digits", num_clusters=60,
        backbone="small", image_size=24, batch_size=64, epochs=10)
    method = pretraining.pretrain(recipe).method

needs no flags. `load_run` reads a finished run again, without its images.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import platform
from typing import NamedTuple

import keras
import tensorflow as tf

from tfclust import backbones, data, methods, optimizers
from tfclust.engine.loop import total_steps as steps_of
from tfclust.runs import checkpoints, metrics, recipes, skipped
from tfclust.runs.recipes import Recipe, RunConfig, make_recipe
from tfclust.runtime import devices, folders, locks, terminal
from tfclust.runtime.terminal import one_line
from tfclust.training import checks, fitting, given_labels, resuming
from tfclust.training.fitting import Trained

__all__ = [
    "Recipe",
    "Run",
    "RunConfig",
    "Trained",
    "load_run",
    "make_recipe",
    "pretrain",
    "untrained_backbone",
]


class Run(NamedTuple):
    """A run read from its folder."""

    recipe: Recipe
    method: methods.Method
    workdir: pathlib.Path
    step: int
    num_images: int


class RememberedViews(NamedTuple):
    """What memories must know of a run's views when its images are away."""

    num_images: int
    batch_size: int
    num_views: int
    num_global_views: int
    steps_per_epoch: int
    image_size: int
    resize_size: int
    seed: int


def pretrain(recipe, *, accepted=None, callbacks=(), say=terminal.say):
    """Trains as `recipe` says; goes on where the workdir's run stopped.

    Args:
      recipe: a `Recipe`.
      accepted: called without arguments once all checks are passed, before
        the first step.
      callbacks: more Keras callbacks.
      say: called with sentences on the run.

    Returns:
      `Trained`.

    Raises:
      ValueError: if the recipe makes no sense, alone, with the images, or with
        the run in the workdir; if all checkpoints there are damaged and the
        recipe has no `start_anew`.
      UnreadableCheckpoint: if a checkpoint there may be whole and cannot be
        read now.
      FileNotFoundError: if the images are not there.
      OSError: if the disk is full, or the images' disk goes away.
    """
    checks.check_alone(recipe)
    run = recipe.run
    workdir = folders.expanded(run.workdir)
    # First of all: hosts must find one another before any operation.
    strategy = devices.make_strategy(run.strategy, run.num_replicas)
    threads = devices.set_threads(run.threads)
    devices.seed_everything(run.seed, run.deterministic)
    checks.check_replicas(recipe, strategy)
    chief = devices.is_chief(strategy)
    with (
        devices.telling_lost_hosts(strategy),
        locks.lock(workdir, really=chief),
    ):
        saved = _saved(run, workdir, say)
        # Refused before the images are opened, which may take minutes.
        other = None if saved else given_labels.open_run(recipe, say)
        sources = open_sources(recipe, workdir, say, chief=chief)
        views = make_views(recipe, sources[0])
        recipe, labels = _given(recipe, views.source, saved, other, say)
        checks.check_images(recipe, views)
        about = _about(recipe, views, strategy, threads)
        if saved is not None:
            changes = resuming.check(recipe, about, saved, say)
            recipe = recipe._replace(backbone=_without_init(recipe.backbone))
        method = build_method(recipe, views, strategy)
        if saved is not None:
            resuming.load_state(method, recipe, saved, changes)
        elif labels is not None:
            method.take_labels(labels)
        if saved is None and run.start_anew and chief:
            _clear(workdir, say)
        if accepted is not None and chief:
            accepted()
        return fitting.fit(
            recipe, method, views, sources[1], workdir, about, chief,
            callbacks, say,
        )  # fmt: skip


def load_run(workdir):
    """Reads a run from its newest complete checkpoint; on one device.

    Args:
      workdir: the run's folder.

    Returns:
      `Run`, whose method is as it was when it was saved.

    Raises:
      FileNotFoundError: if no checkpoint is there.
      DamagedCheckpoint: if all there are damaged.
      UnreadableCheckpoint: if one may be whole and cannot be read now.
    """
    workdir = folders.expanded(workdir)
    saved = checkpoints.latest(workdir)
    if saved is None:
        raise checks.no_run(workdir)
    recipe = recipes.from_words(saved.about["recipe"])
    facts = recipe._replace(backbone=_without_init(recipe.backbone))
    views = RememberedViews(**saved.about["views"])
    method = build_method(facts, views, tf.distribute.get_strategy())
    method.load_state(saved.arrays)
    return Run(recipe, method, workdir, saved.step, views.num_images)


def untrained_backbone(recipe):
    """The backbone as the run began, with the random weights of its seed."""
    config = _without_init(recipe.backbone)
    with devices.precision(recipe.run.mixed_precision):
        keras.utils.set_random_seed(recipe.run.seed)
        return backbones.from_config(config, image_size=recipe.largest_view)


def build_method(recipe, views, strategy):
    """The method of a recipe, compiled, with memories and optimizer slots.

    Args:
      recipe: a `Recipe`.
      views: `data.Views`, or what is remembered of them.
      strategy: a `tf.distribute.Strategy`.
    """
    run = recipe.run
    replicas = strategy.num_replicas_in_sync
    with devices.precision(run.mixed_precision), strategy.scope():
        keras.utils.set_random_seed(run.seed)
        backbone = backbones.from_config(
            recipe.backbone, image_size=recipe.largest_view
        )
        optimizer = optimizers.build(
            recipe.optimizer,
            steps_per_epoch=views.steps_per_epoch,
            total_steps=steps_of(views, run.epochs, run.steps),
        )
        method = methods.METHODS[run.method](backbone, recipe.method)
        jit_compile = run.jit_compile
        if jit_compile is None:
            # On CPU XLA slows convolutions; replicas cannot share a step.
            on_gpu = bool(tf.config.list_physical_devices("GPU"))
            jit_compile = on_gpu and replicas == 1
        method.compile(optimizer=optimizer, jit_compile=jit_compile)
        method.prepare(views)
    return method


def open_sources(recipe, workdir, say=terminal.say, *, chief=True):
    """The images to learn from, and those that test the kNN or None.

    What is left out is listed in the workdir; by the chief, but for failures
    later on, which each host meets in its own part of a batch.
    """
    run, left_out = recipe.run, []

    def list_left_out(entries):
        left_out.extend(entries)
        if chief:
            skipped.write(workdir, left_out, say)

    def opened(argument, uri, **knobs):
        try:
            source = data.open_source(
                uri,
                cache_dir=run.cache_dir or str(workdir / "cache"),
                max_bad_share=run.max_bad_share,
                argument=argument,
                **knobs,
            )
        except data.UnreadableImages as error:
            list_left_out(error.skipped)
            where = workdir / skipped.FILE
            raise ValueError(f"{error} All are listed in {where}.") from error
        list_left_out(source.skipped)
        _tell_left_out(source, say)
        source.when_failing(
            lambda *failure: _tell_failure(workdir, say, *failure)
        )
        return source

    source = opened(
        "data",
        run.data,
        max_images=run.max_images,
        class_shares=run.class_shares,
    )
    checks.check_stream(recipe, source)
    if not run.eval_data:
        return source, None
    test = opened("eval_data", run.eval_data)
    checks.check_test_images(source, test)
    return source, test


def _tell_left_out(source, say):
    for name, reason in source.skipped[:10]:
        say(f"Left out: {name}: {reason}")
    if len(source.skipped) > 10:
        say(f"Left out: {len(source.skipped) - 10} more images.")
    for notice in source.notices:
        say(f"{source.uri}: {notice}.")


def _tell_failure(workdir, say, name, reason):
    shown = one_line(name)
    say(f"Replaced by others from now on: {shown}: {reason}")
    try:
        skipped.add(workdir, name, reason)
    except OSError as error:  # a list is no reason to end a run
        say(f"It could not be listed in {skipped.FILE}: {error.strerror}.")


def _saved(run, workdir, say):
    """The checkpoint that a run goes on from, or None."""
    saved = checkpoints.latest(workdir, say=say, start_anew=run.start_anew)
    if saved is not None and run.start_anew:
        say(
            f"start_anew changes nothing: {saved.path} is whole, and the run "
            "goes on from it."
        )
    return saved


def _clear(workdir, say):
    """Moves aside what is left of a run whose checkpoints are all damaged."""
    why = "the run starts anew"
    checkpoints.set_aside(workdir, why, say)
    for name in (metrics.METRICS_FILE, metrics.TENSORBOARD_FOLDER):
        if os.path.lexists(workdir / name):
            folders.set_aside(workdir / name, why, say)


def make_views(recipe, source):
    """The `data.Views` of a recipe."""
    run = recipe.run
    return data.Views(
        source,
        recipe.views,
        batch_size=run.batch_size,
        seed=run.seed,
        image_size=run.image_size,
        resize_size=run.resize_size,
    )


def _given(recipe, source, saved, other, say):
    """The recipe with its classes, and labels `[N, H]` or None.

    A run that goes on has its labels in its state.
    """
    if saved is not None:
        classes = given_labels.classes_of(saved)
        return given_labels.with_classes(recipe, classes), None
    given = given_labels.read(recipe, other, source)
    if given is None:
        return recipe, None
    say(given_labels.in_words(given))
    recipe = given_labels.with_classes(recipe, given.num_clusters)
    return recipe, given.labels


def _about(recipe, views, strategy, threads):
    """What a checkpoint's manifest tells of its run."""
    words = recipes.to_words(resuming.lasting(recipe))
    facts = RememberedViews(
        **{name: getattr(views, name) for name in RememberedViews._fields}
    )
    digest = hashlib.sha256(json.dumps(words, sort_keys=True).encode())
    return {
        "recipe": words,
        "recipe_digest": digest.hexdigest(),
        "views": facts._asdict(),
        "data_digest": views.source.manifest_hash,
        "machine": {
            "replicas": strategy.num_replicas_in_sync,
            "threads": threads,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "processor": platform.machine(),
            # Its kernels sum in another order; unset, TensorFlow decides.
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "unset"),
        },
    }


def _without_init(config):
    """The backbone's config with random weights at the start."""
    return dataclasses.replace(config, init_from="", init_stages=None)
