"""Makes a plan: looks at the images, times some steps, settles the knobs."""

import gc
import pathlib
import shutil
import tempfile
import time
from typing import NamedTuple

import tensorflow as tf

from tfclust.engine.planning import Setting, draft_of
from tfclust.runs.facts import facts as run_facts
from tfclust.runs.folder import SKIPPED
from tfclust.runs.recipes import Recipe, make_recipe
from tfclust.runtime import devices, folders, full_memory, terminal
from tfclust.training import checks, images
from tfclust.training.notices import notices
from tfclust.training.planning import lengths, settling, starting
from tfclust.training.planning.limits import limits
from tfclust.training.planning.looking import Look, look
from tfclust.training.planning.timing import Timing, label_passes, measure

_LEAST_BATCH = 16  # a smaller one teaches little, if memory is short
_LENGTHS = ("epochs", "steps")
_GUESSED_STEPS, _GUESSED_EPOCHS = 2000, 20  # the longer of the two


class Plan(NamedTuple):
    """Settings for a run, with their reasons and what they cost."""

    recipe: Recipe
    settings: dict[str, Setting]  # what the plan has settled, by knob
    given: dict  # what the user has settled, by knob
    look: Look
    timing: Timing
    total_steps: int
    seconds: float  # expected, of the whole run
    notices: list[str]  # on what is given, as a run's first lines have them


def make(given, *, minutes, say=terminal.say):
    """Makes the plan for some images.

    Args:
      given: `{knob: value}`, what is settled already, as for `make_recipe`:
        `data` at least.
      minutes: float, how long training may take.
      say: called with sentences on images that are left out.

    Returns:
      `Plan`.

    Raises:
      ValueError: if what is given makes no sense, or the images are a stream.
      FileNotFoundError: if the images are missing.
    """
    # For what a run keeps of its check of the images, where there is no run.
    spare = pathlib.Path(tempfile.mkdtemp(prefix="tfclust-plan-"))
    listed = False
    try:
        return _made(given, minutes, say, spare)
    except ValueError:
        listed = (spare / SKIPPED).exists()  # the error names the list
        raise
    finally:
        if not listed:
            shutil.rmtree(spare)


def _made(given, minutes, say, spare):
    draft = _recipe(draft_of(given), _guess(_GUESSED_STEPS))
    checks.check_alone(draft, needed=("data",), sizes=False)
    start = starting.start(draft.backbone, given)
    strategy = _strategy(draft.run)
    began = time.perf_counter()
    source = _open(draft, say, spare)
    # A run checks the images again if nothing but this folder keeps the check.
    again = any(spare.iterdir()) * (time.perf_counter() - began)
    machine, seen = _machine(strategy), look(source)
    taken = limits(draft.backbone, start)
    known = settling.Known(draft, given, seen, machine, start, taken)
    known, rough, facts, timing = _measured(known, source, strategy)
    passes = label_passes(rough, facts)
    passes *= facts.steps_per_epoch / facts.total_steps  # of an epoch
    length = lengths.length(facts, timing, minutes, given, passes)
    facts = facts._replace(total_steps=length.steps)
    settings = {
        **settling.settle(known, facts),
        **lengths.by_time(facts, timing, length),
    }
    recipe = _recipe(given, settings)
    checks.check_alone(recipe, needed=())
    return Plan(
        recipe,
        {n: s for n, s in settings.items() if n not in given},
        given,
        seen,
        timing,
        length.steps,
        again
        + timing.seconds(
            length.steps,
            length.epochs,
            label_passes(recipe, facts),
            recipe.run,
        ),
        notices(recipe, run_facts(recipe, facts)),
    )


def _strategy(run):
    """What trains on this host, with seeds and threads as in training."""
    if devices.joins_hosts(run.strategy):
        raise ValueError(
            "a plan is made on one host, since each would measure other times "
            "and stop at another step. Received: TF_CONFIG. Make it there "
            "without that, by env -u TF_CONFIG python -m tfclust.advise, and "
            "give it to all hosts: --flagfile=plan.flags."
        )
    strategy = devices.make_strategy(run.strategy, run.num_replicas)
    devices.set_threads(run.threads)
    devices.seed_everything(run.seed, run.deterministic)
    return strategy


def _machine(strategy):
    gpu = bool(tf.config.list_physical_devices("GPU"))
    return settling.Machine(gpu, strategy.num_replicas_in_sync)


def _measured(known, source, strategy):
    """The `Known`, a rough `Recipe`, its `PlanFacts` and its `Timing`.

    Where memory is short, with the largest halved batch that fits.
    """
    while True:
        facts = _rough_facts(known)
        settings = settling.settle(known, facts)
        rough = _recipe(known.given, {**settings, **_guess(facts.total_steps)})
        checks.check_alone(rough, needed=())
        checks.check_replicas(rough, strategy)
        if rough.method.num_clusters:  # fixed labels bring their own
            rough.method.check_images(source.num_images, facts.batch_size)
        try:
            with full_memory.telling(facts.batch_size):
                timing = measure(rough, source, strategy)
        except full_memory.FullMemory:
            half = facts.batch_size // 2
            if "batch_size" in known.given or half < max(
                _LEAST_BATCH, strategy.num_replicas_in_sync
            ):
                raise
        else:
            return known, rough, facts, timing
        gc.collect()  # what a failed step has left
        machine = known.machine._replace(most_rows=half)
        known = known._replace(machine=machine)


def _rough_facts(known):
    """`PlanFacts` of a run as long as is given, or of whole epochs until a
    step's time is known."""
    facts = settling.facts(known, total_steps=0)
    per_epoch, given = facts.steps_per_epoch, known.given
    guessed = max(_GUESSED_EPOCHS, round(_GUESSED_STEPS / per_epoch))
    epochs = given.get("epochs") or guessed
    return facts._replace(total_steps=given.get("steps") or epochs * per_epoch)


def _guess(steps):
    return {"steps": Setting(steps, "until a step's time is known")}


def _recipe(given, settings):
    """The `Recipe` of a plan's settings, unless they are given otherwise."""
    settled = {name: setting.value for name, setting in settings.items()}
    if set(_LENGTHS) & set(given):
        settled = {n: v for n, v in settled.items() if n not in _LENGTHS}
    return make_recipe(**{**settled, **given})


def _open(recipe, say, spare):
    workdir = folders.expanded(recipe.run.workdir or spare)
    source, _ = images.open_images(recipe, workdir, say)
    if source.is_stream:
        raise ValueError(
            "a plan needs to know the images and their number, and a stream "
            f"has neither. Received: data={recipe.run.data}. Write tfrecord: "
            "instead of tfrecord_stream:, or give a recipe (--flagfile)."
        )
    return source
