"""How long a planned run is, and how often it measures and saves."""

import math
from typing import NamedTuple

from tfclust.engine.planning import Setting
from tfclust.training.planning.timing import (
    CHECKPOINT_SECONDS,
    EPOCH_SECONDS,
)

_MOST_EPOCHS = 400
_FEWEST_STEPS = 100  # of a run shorter than an epoch
_OVERHEAD = 0.1  # of the time of steps, for checkpoints and kNN, half each
_UNSAVED_SECONDS = 120  # of an epoch; a longer one has checkpoints within


class Length(NamedTuple):
    """How long a run is."""

    steps: int
    epochs: float
    why: str
    knob: str = "epochs"  # or steps: the one that says it


def length(facts, timing, minutes, given, passes):
    """The `Length` of a run: what is given, or what fills the minutes.

    Args:
      facts: `PlanFacts`.
      timing: `Timing`.
      minutes: float.
      given: `{knob: value}`.
      passes: float, label passes of an epoch.
    """
    per_epoch = facts.steps_per_epoch
    if given.get("steps"):
        steps = given["steps"]
        return Length(steps, steps / per_epoch, "as given", "steps")
    if given.get("epochs"):
        epochs = given["epochs"]
        return Length(epochs * per_epoch, epochs, "as given")
    left = 60 * minutes - timing.start_seconds
    # What an epoch has beside its steps is kept to a tenth (`by_time`).
    step_seconds = timing.step_seconds * (1 + _OVERHEAD)
    an_epoch = per_epoch * step_seconds + passes * timing.label_seconds
    an_epoch += EPOCH_SECONDS
    epochs = math.floor(left / an_epoch)
    if epochs < 1:
        return _part(per_epoch, left / step_seconds, minutes)
    why = f"what {minutes:g} minutes have time for"
    if epochs > _MOST_EPOCHS:
        epochs, why = _MOST_EPOCHS, "more has not helped where it was tried"
    return Length(epochs * per_epoch, epochs, why)


def _part(per_epoch, fitting, minutes):
    """The `Length` where less than an epoch has time: `fitting` steps."""
    steps = min(per_epoch, max(_FEWEST_STEPS, math.floor(fitting)))
    why = f"what {minutes:g} minutes have time for, less than an epoch"
    if fitting < steps:
        why = (
            f"the fewest that teach anything, though {minutes:g} minutes have "
            "no time for them; --max_images takes fewer images"
        )
    if steps == per_epoch:
        return Length(steps, 1, why)
    return Length(steps, steps / per_epoch, why, "steps")


def by_time(facts, timing, length):
    """Settings that depend on how long steps take."""
    per_epoch = facts.steps_per_epoch
    seconds = per_epoch * timing.step_seconds
    why = "so that they take at most a twentieth of the time of steps"
    saved, neighbours = (
        Setting(max(1, math.ceil(cost / (_OVERHEAD / 2 * seconds))), why)
        for cost in (CHECKPOINT_SECONDS, timing.knn_seconds)
    )
    told = Setting(length.epochs, f"{length.steps:,} steps: {length.why}")
    if length.knob == "steps":
        told = Setting(length.steps, length.why)
    settings = {
        length.knob: told,
        "checkpoint_epochs": saved,
        "knn_epochs": neighbours,
    }
    if seconds > _UNSAVED_SECONDS:
        settings["checkpoint_steps"] = Setting(
            max(1, round(_UNSAVED_SECONDS / 2 / timing.step_seconds)),
            "a minute, so that an interruption loses no more",
        )
    return settings
