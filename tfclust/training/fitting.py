"""The fit of a run: what it reports, when it saves, and what ends it."""

import pathlib
from typing import NamedTuple

from tfclust import data, methods
from tfclust.engine import trouble
from tfclust.engine.console import Console
from tfclust.engine.history import EpochHistory
from tfclust.runs import folder
from tfclust.runs.config import RunConfig
from tfclust.runs.metrics import Metrics, read_metrics
from tfclust.training import next_steps, restarting
from tfclust.training.callbacks.label_figures import LabelFigures
from tfclust.training.callbacks.saver import Saver
from tfclust.training.callbacks.stopping import StopRequest, TroubleWatch
from tfclust.training.notices import notices


class Trained(NamedTuple):
    """A run that has ended, or was interrupted with its state saved."""

    method: methods.Method
    workdir: pathlib.Path
    step: int
    total_steps: int
    interrupted: bool
    run: RunConfig
    chief: bool = True


def fit(session, callbacks=(), *, noticed=False):
    """Trains a method from its current step; saves and reports.

    Args:
      session: the `Session`.
      callbacks: more Keras callbacks.
      noticed: whether the notices on its settings have been told.

    Returns:
      `Trained`.

    Raises:
      ValueError: if the loss is not a number, or the run is in lasting trouble
        and `on_trouble` is "stop".
      OSError: if images are gone, and their replacements too.
    """
    method, run = session.method, session.run
    total, start = session.total_steps, session.start_step
    if start >= total:
        session.say(
            f"Finished already: {start} steps are done in {session.workdir}. "
            + next_steps.after_training(run.workdir)
        )
        return _trained(session, start, total, False)
    _announce(session, noticed)
    stop = StopRequest()
    history, figures = _figures(session)
    watches = _watches(session, history)
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
                *watches,
                Saver(session, stop),
            ],
        )
    step = int(method.step.numpy())
    if step == total:
        session.say(next_steps.after_training(run.workdir))
        return _trained(session, step, total, False)
    for watch in watches:
        _refuse_trouble(watch, session, step)
    session.say(
        f"Interrupted: step {step} of {total} is saved in {session.workdir}. "
        "The same command resumes from there."
    )
    return _trained(session, step, total, True)


def _trained(session, step, total, interrupted):
    return Trained(
        session.method,
        session.workdir,
        step,
        total,
        interrupted,
        session.run,
        session.chief,
    )


def _watches(session, history):
    """The callback that ends a run in trouble, in a list; empty unless asked.

    Epochs before a change of flags do not count: the change may help.
    """
    if session.run.on_trouble != "stop":
        return []
    changed = [change["step"] for change in session.about.get("changes", [])]
    return [
        TroubleWatch(
            history,
            session.recipe.method,
            session.facts,
            since=max(changed, default=0),
        )
    ]


def _refuse_trouble(watch, session, step):
    if watch.found is None:
        return
    session.say(next_steps.after_trouble(session.run.workdir))
    since, facts = watch.found.since, session.facts
    told = (
        f"on_trouble=stop ended the run at step {step:,} of "
        f"{session.total_steps:,}. {watch.found.seen}, and it has not got "
        f"better since step {since:,}."
    )
    kept = "--on_trouble=tell resumes this run as it is"
    found = restarting.restart(
        session.recipe,
        session.workdir,
        watch.found.symptom,
        facts,
        watch.history.epochs[-1],
    )
    if found is None:
        raise ValueError(f"{told} Start again with other settings; {kept}.")
    words = found.remedy.words
    told += f" {words[0].upper()}{words[1:]}: "
    if (session.workdir / folder.CONFIG).exists():
        raise ValueError(f"{told}{found.command} ({kept})")
    value = f"{found.remedy.knob}={found.remedy.value}"
    workdir = found.recipe.run.workdir
    raise ValueError(f"{told}{value} in workdir={workdir} ({kept})")


def _figures(session):
    """The run's `EpochHistory`, and all callbacks that report on the run.

    Figures are the same on all hosts; one of them writes.
    """
    run, views, found = session.run, session.views, []
    start = session.start_step
    if views.source.labels is not None:
        found.append(
            LabelFigures(
                views,
                session.test,
                num_images=run.knn_images,
                every_epochs=run.knn_epochs,
            )
        )
    if not session.chief:
        history = EpochHistory(read_metrics(session.workdir, start))
        return history, [*found, history]
    metrics = Metrics(session.workdir, start, session.say)
    config = session.recipe.method
    console = Console(metrics.history, config, session.facts, start)
    return metrics.history, [*found, metrics.history, metrics, console]


def _announce(session, noticed):
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
    if not noticed:
        for sentence in notices(session.recipe, session.facts):
            session.say(f"  {sentence}")
    if session.run.on_trouble == "stop":
        watched = trouble.in_words(session.recipe.method, session.facts)
        session.say(f"  {watched}")
