"""The fit of a run: what it reports, when it saves, and what ends it."""

import pathlib
from typing import NamedTuple

from tfclust import data, methods
from tfclust.engine import health
from tfclust.engine.config import RunFacts
from tfclust.engine.console import Console
from tfclust.runs.metrics import Metrics, read_metrics
from tfclust.training import next_steps
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


def fit(session, callbacks=()):
    """Trains a method from its current step; saves and reports.

    Args:
      session: the `Session`.
      callbacks: more Keras callbacks.

    Returns:
      `Trained`.

    Raises:
      ValueError: if the loss is not a number, or the run collapses and
        `stop_on_collapse` is on.
      OSError: if images are gone, and their replacements too.
    """
    method, run = session.method, session.run
    total, start = session.total_steps, session.start_step
    if start >= total:
        session.say(
            f"Finished already: {start} steps are done in {session.workdir}. "
            + next_steps.after_training(run.workdir)
        )
        return Trained(method, session.workdir, start, total, False)
    _announce(session)
    stop, collapse = StopRequest(), _collapse(session)
    figures = _figures(session)
    with stop.listening(), data.telling_lost_images():
        method.fit(
            session.views,
            epochs=run.epochs,
            steps=run.steps,
            start_step=start,
            verbose=0,
            callbacks=[
                *figures,
                *callbacks,
                *collapse,
                Saver(session, stop),
            ],
        )
    step = int(method.step.numpy())
    if step == total:
        session.say(next_steps.after_training(run.workdir))
        return Trained(method, session.workdir, step, total, False)
    for watch in collapse:
        _refuse_collapse(watch, session, step)
    session.say(
        f"Interrupted: step {step} of {total} is saved in {session.workdir}. "
        "The same command resumes from there."
    )
    return Trained(method, session.workdir, step, total, True)


def _collapse(session):
    """The callback that ends a collapsed run, in a list; empty unless asked.

    Epochs before a change of flags do not count: the change may help.
    """
    if not session.run.stop_on_collapse:
        return []
    changed = [change["step"] for change in session.about.get("changes", [])]
    history = [
        figures
        for figures in read_metrics(session.workdir, session.start_step)
        if figures["step"] > max(changed, default=0)
    ]
    return [Collapse(session.recipe.method, history)]


def _refuse_collapse(collapse, session, step):
    if collapse.sentence is None:
        return
    raise ValueError(
        f"stop_on_collapse ended the run at step {step:,} of "
        f"{session.total_steps:,}, after {health.COLLAPSED_EPOCHS} epochs in a "
        f"row of this: {collapse.sentence} Start again in another workdir; "
        "this one holds the run as it is, which resumes without "
        f"--stop_on_collapse: {session.workdir}"
    )


def _figures(session):
    """Callbacks that report on the run; figures are the same on all hosts."""
    run, views, found = session.run, session.views, []
    if views.source.labels is not None:
        found.append(
            LabelFigures(
                views,
                session.test,
                num_images=run.knn_images,
                every_epochs=run.knn_epochs,
            )
        )
    if session.chief:
        metrics = Metrics(session.workdir, session.start_step, session.say)
        console = Console(
            session.recipe.method,
            history=metrics.history,
            total_steps=session.total_steps,
            start_step=session.start_step,
            batch_size=views.batch_size,
        )
        found += [metrics, console]
    return found


def _announce(session):
    method, views, start = session.method, session.views, session.start_step
    weights = sum(v.value.shape.num_elements() for v in method.backbone.weights)
    replicas = method.distribute_strategy.num_replicas_in_sync
    session.say(
        f"{'Resumes' if start else 'Trains'} {session.run.method} on "
        f"{views.num_images:,} images of {session.run.data}, "
        f"{views.num_views} views in batches of {views.batch_size}, "
        f"{session.total_steps:,} steps"
        + (f" from step {start:,}" if start else "")
        + f", a backbone {session.recipe.backbone.backbone} of "
        f"{weights:,} weights"
        + (f", {replicas} replicas." if replicas > 1 else ".")
    )
    facts = RunFacts(
        num_images=views.num_images,
        batch_size=views.batch_size,
        total_steps=session.total_steps,
        steps_per_epoch=views.steps_per_epoch,
    )
    for sentence in session.recipe.method.notices(facts):
        session.say(f"  {sentence}")
