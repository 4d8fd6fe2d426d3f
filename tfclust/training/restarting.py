"""The one change that may help a run in trouble, and the command for it."""

import shlex
from typing import NamedTuple

from tfclust.engine.remedies import Remedy
from tfclust.runs import folder, recipes


class Restart(NamedTuple):
    """A new run, as the one in trouble was but for one knob."""

    remedy: Remedy
    recipe: recipes.Recipe
    command: str  # a line for the shell


def restart(recipe, workdir, symptom, facts, figures):
    """A `Restart`; None if no remedy gives a value that the recipe takes.

    Args:
      recipe: the `Recipe` of the run in trouble.
      workdir: `pathlib.Path`, its folder.
      symptom: str, one of those in `engine/health.py`.
      facts: `RunFacts`.
      figures: dict, those of the last epoch.
    """
    for remedy in recipe.method.remedies(facts, figures).get(symptom, ()):
        if remedy.value is None:
            continue
        anew = _free(workdir)
        knobs = {remedy.knob: remedy.value, "workdir": str(anew)}
        try:
            changed = recipes.with_words(recipe, knobs)
        except ValueError:
            continue  # another knob would have to change too
        flags = [f"--flagfile={workdir / folder.CONFIG}"]
        flags += [f"--{name}={value}" for name, value in knobs.items()]
        command = shlex.join(["python", "-m", "tfclust.train", *flags])
        return Restart(remedy, changed, command)
    return None


def _free(workdir):
    """`<workdir>-2`, or the next number that names nothing yet."""
    number = 2
    while (path := workdir.with_name(f"{workdir.name}-{number}")).exists():
        number += 1
    return path
