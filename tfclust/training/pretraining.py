"""From a recipe to a trained method: data, checks, method, resume, the fit.

    recipe = pretraining.make_recipe(
        method="swav", data="digits:", workdir="runs/digits", num_clusters=60,
        backbone="small", image_size=24, batch_size=64, epochs=10)
    method = pretraining.pretrain(recipe).method

needs no flags. `load_run` loads a finished run without its images.
"""

import hashlib
import json
import os
import platform

import keras
import tensorflow as tf

from tfclust.backbones.config import frozen_at_random
from tfclust.runs import checkpoints, folder, recipes
from tfclust.runs.config import RunConfig
from tfclust.runs.loading import (
    RememberedViews,
    Run,
    build_method,
    load_run,
    untrained_backbone,
    without_init,
)
from tfclust.runs.recipes import Recipe, make_recipe
from tfclust.runtime import devices, folders, full_memory, locks, terminal
from tfclust.training import (
    checks,
    fitting,
    given_labels,
    images,
    resuming,
)
from tfclust.training.fitting import Trained
from tfclust.training.session import Session

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


def pretrain(
    recipe, *, accepted=None, callbacks=(), noticed=False, say=terminal.say
):
    """Trains as `recipe` says; resumes where the workdir's run stopped.

    Args:
      recipe: a `Recipe`.
      accepted: called without arguments once all checks have passed, before the
        first step.
      callbacks: more Keras callbacks.
      noticed: whether a plan has told the notices on the settings, and what
        is left out of the images.
      say: called with sentences on the run.

    Returns:
      `Trained`.

    Raises:
      ValueError: if the recipe makes no sense by itself, with the images, or
        with the run in the workdir; if all checkpoints there are damaged and
        the recipe has no `start_anew`.
      UnreadableCheckpoint: if a checkpoint there may be intact but cannot be
        read now.
      FileNotFoundError: if the images are missing.
      OSError: if the disk is full, or the images' disk disappears.
      FullMemory: if a step needs more memory than there is.
    """
    checks.check_alone(recipe)
    run = recipe.run
    # First of all, hosts must find one another before any operation.
    strategy = devices.make_strategy(run.strategy, run.num_replicas)
    threads = devices.set_threads(run.threads)
    devices.seed_everything(run.seed, run.deterministic)
    checks.check_replicas(recipe, strategy)
    chief = devices.is_chief(strategy)
    with (
        devices.telling_lost_hosts(strategy),
        full_memory.telling(run.batch_size),
        locks.lock(folders.expanded(run.workdir), really=chief),
    ):
        session = _begun(recipe, strategy, threads, chief, noticed, say)
        if accepted is not None and chief:
            accepted()
        return fitting.fit(session, callbacks, noticed=noticed)


def _begun(recipe, strategy, threads, chief, noticed, say):
    """The `Session` of a run that starts here or resumes; does all checks."""
    run, workdir = recipe.run, folders.expanded(recipe.run.workdir)
    saved = _saved(run, workdir, say)
    # Refused before the images are opened, which may take minutes.
    other = None if saved else given_labels.open_run(recipe, say)
    source, test = images.open_images(
        recipe, workdir, say, chief=chief, told=noticed
    )
    views = images.make_views(recipe, source, say)
    recipe, labels = _given(recipe, views.source, saved, other, say)
    checks.check_images(recipe, views)
    about = _about(recipe, views, strategy, threads)
    if saved is not None:
        changes = resuming.check(recipe, about, saved, say)
        recipe = recipe._replace(backbone=without_init(recipe.backbone))
    elif notice := frozen_at_random(recipe.backbone):
        say(notice)
    method = build_method(recipe, views, strategy, say)
    if saved is not None:
        resuming.load_state(method, recipe, saved, changes)
    elif labels is not None:
        method.take_labels(labels)
    if saved is None and run.start_anew and chief:
        _clear(workdir, say)
    return Session(
        recipe,
        method,
        views,
        test,
        workdir,
        about,
        chief=chief,
        start_step=int(method.step.numpy()),
        say=say,
    )


def _saved(run, workdir, say):
    """The checkpoint from which a run resumes, or None."""
    saved = checkpoints.latest(workdir, say=say, start_anew=run.start_anew)
    if saved is not None and run.start_anew:
        say(
            f"start_anew changes nothing: {saved.path} is intact, and the run "
            "resumes from it."
        )
    return saved


def _clear(workdir, say):
    """Moves aside what is left of a run whose checkpoints are all damaged."""
    why = "the run starts again"
    checkpoints.set_aside(workdir, why, say)
    for name in (folder.METRICS, folder.TENSORBOARD):
        if os.path.lexists(workdir / name):
            folders.set_aside(workdir / name, why, say)


def _given(recipe, source, saved, other, say):
    """The recipe with its classes, and labels `[N, H]` or None.

    A resumed run has its labels in its state.
    """
    if recipe.method.labels_from is None:
        return recipe, None
    if saved is not None:
        classes = given_labels.classes_of(saved)
        return given_labels.with_classes(recipe, classes), None
    given = given_labels.read(recipe, other, source)
    say(given_labels.in_words(given))
    recipe = given_labels.with_classes(recipe, given.num_clusters)
    return recipe, given.labels


def _about(recipe, views, strategy, threads):
    """What a checkpoint's manifest says about its run."""
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
            # Its kernels sum in another order; if unset, TensorFlow decides.
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "unset"),
        },
    }
