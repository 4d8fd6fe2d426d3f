"""The fit of a run: what it tells, when it saves, and what ends it."""

import pathlib
from typing import NamedTuple

from tfclust import data, methods, optimizers
from tfclust.engine.loop import total_steps
from tfclust.runs import health
from tfclust.runs.metrics import Console, Metrics, read_metrics
from tfclust.training.callbacks.label_figures import LabelFigures
from tfclust.training.callbacks.saver import Saver
from tfclust.training.callbacks.stopping import Collapse, StopRequest


class Trained(NamedTuple):
    """A run that has ended, or was interrupted with its state saved."""

    method: methods.Method
    workdir: pathlib.Path
    step: int
    total_steps: int
    interrupted: bool


def fit(recipe, method, views, test, workdir, about, chief, callbacks, say):
    """Trains a method from the step it is at; saves, and tells of it.

    Args:
      recipe: the `Recipe`. method: the `Method`, with its state. views: its
        `data.Views`. test: `data.Source` of the kNN, or None.
      workdir: `pathlib.Path` of the run. about: dict for the manifests.
      chief: whether this host writes.
      callbacks: more Keras callbacks. say: called with sentences.

    Returns:
      `Trained`.

    Raises:
      ValueError: if the loss is no number, or the run collapses and
        `stop_on_collapse` is on.
      OSError: if images are gone, with those that were to stand in for them.
    """
    run = recipe.run
    total = total_steps(views, run.epochs, run.steps)
    start = int(method.step.numpy())
    if start >= total:
        say(f"Finished already: {start} steps are done in {workdir}.")
        return Trained(method, workdir, start, total, False)
    _announce(recipe, method, views, start, total, say)
    stop, collapse = StopRequest(), _collapse(recipe, workdir, about, start)
    tell = _tell(recipe, views, test, workdir, start, total, chief, say)
    with stop.listening(), data.telling_lost_images():
        method.fit(
            views,
            epochs=run.epochs,
            steps=run.steps,
            start_step=start,
            callbacks=[
                *tell,
                *callbacks,
                *collapse,
                _saver(recipe, views, workdir, about, stop, start, chief, say),
            ],
        )
    step = int(method.step.numpy())
    if step == total:
        return Trained(method, workdir, step, total, False)
    for watch in collapse:
        _refuse_collapse(watch, workdir, step, total)
    say(
        f"Interrupted: step {step} of {total} is saved in {workdir}. The "
        "same command goes on from there."
    )
    return Trained(method, workdir, step, total, True)


def _saver(recipe, views, workdir, about, stop, start, chief, say):
    run, steps = recipe.run, views.steps_per_epoch
    total = total_steps(views, run.epochs, run.steps)
    return Saver(
        workdir if chief else None,
        about,
        stop,
        rate=optimizers.learning_rate(
            recipe.optimizer, steps_per_epoch=steps, total_steps=total
        ),
        total_steps=total,
        steps_per_epoch=steps,
        start_step=start,
        every_epochs=run.checkpoint_epochs,
        every_steps=run.checkpoint_steps,
        keep=run.keep_checkpoints,
        say=say,
    )


def _collapse(recipe, workdir, about, start):
    """The callback that ends a collapsed run, in a list; none unasked.

    Epochs before a change of flags do not count: the change may help.
    """
    if not recipe.run.stop_on_collapse:
        return []
    changed = [change["step"] for change in about.get("changes", [])]
    history = [
        figures
        for figures in read_metrics(workdir, start)
        if figures["step"] > max(changed, default=0)
    ]
    return [Collapse(recipe.method, history)]


def _refuse_collapse(collapse, workdir, step, total):
    if collapse.sentence is None:
        return
    raise ValueError(
        f"stop_on_collapse ended the run at step {step:,} of {total:,}, after "
        f"{health.COLLAPSED_EPOCHS} epochs in a row of this: "
        f"{collapse.sentence} Begin again in another workdir; this one has "
        f"the run as it is, which goes on without --stop_on_collapse: {workdir}"
    )


def _tell(recipe, views, test, workdir, start, total, chief, say):
    """Callbacks that tell of the run; figures are the same on all hosts."""
    run, tell = recipe.run, []
    if views.source.labels is not None:
        tell.append(
            LabelFigures(
                views,
                test,
                num_images=run.knn_images,
                every_epochs=run.knn_epochs,
            )
        )
    if chief:
        metrics = Metrics(workdir, start, say)
        console = Console(
            metrics.history,
            recipe.method,
            total_steps=total,
            start_step=start,
            batch_size=views.batch_size,
        )
        tell += [metrics, console]
    return tell


def _announce(recipe, method, views, start, total, say):
    weights = sum(v.value.shape.num_elements() for v in method.backbone.weights)
    replicas = method.distribute_strategy.num_replicas_in_sync
    say(
        f"{'Goes on with' if start else 'Trains'} {recipe.run.method} on "
        f"{views.num_images:,} images of {recipe.run.data}: "
        f"{views.num_views} views in batches of {views.batch_size}, "
        f"{total:,} steps"
        + (f" from step {start:,}" if start else "")
        + f", a {recipe.backbone.backbone} of {weights:,} weights"
        + (f", {replicas} replicas." if replicas > 1 else ".")
    )
    for sentence in health.notices(
        recipe.method,
        num_images=views.num_images,
        batch_size=views.batch_size,
        total_steps=total,
        steps_per_epoch=views.steps_per_epoch,
    ):
        say(f"  {sentence}")
