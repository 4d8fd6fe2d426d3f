"""The runs of a sweep: a recipe with each combination of values."""

import itertools
import pathlib
import re
from typing import NamedTuple

from tfclust.runs import recipes
from tfclust.runtime import folders
from tfclust.training import checks


class Variant(NamedTuple):
    """One run of the sweep."""

    values: dict  # {knob: text}
    recipe: recipes.Recipe

    @property
    def workdir(self):
        return pathlib.Path(self.recipe.run.workdir)


def variants(recipe, vary):
    """The recipes that a sweep trains.

    Args:
      recipe: the `Recipe` that all share; its workdir holds theirs.
      vary: str, `knob=value|value` separated by spaces.

    Returns:
      list of `Variant`, all combinations, the last knob's values fastest.

    Raises:
      ValueError: if a knob is unknown or repeated, or a value is not allowed.
    """
    knobs = _parse(vary)
    workdir = folders.expanded(recipe.run.workdir)
    found = []
    for values in itertools.product(*knobs.values()):
        chosen = dict(zip(knobs, values, strict=True))
        words = recipes.to_words(recipe)
        for name, value in chosen.items():
            _part_of(words, name, recipe.run.method)[name] = value
        words["run"]["workdir"] = str(workdir / folder_name(chosen))
        try:
            variant = recipes.from_words(words)
        except ValueError as error:
            raise ValueError(f"vary, {folder_name(chosen)}: {error}") from error
        checks.check_alone(variant)
        found.append(Variant(chosen, variant))
    return found


def folder_name(values):
    """A variant's name, which can be a folder's."""
    name = " ".join(f"{knob}={value}" for knob, value in values.items())
    return re.sub(r"[^\w=.,+-]+", "_", name)


def _parse(vary):
    """`{knob: [text, ...]}` from `knob=value|value` separated by spaces."""
    knobs: dict[str, list[str]] = {}
    for words in vary.split():
        name, equals, values = words.partition("=")
        texts = values.split("|")
        if not equals or name in knobs or len(set(texts)) < len(texts):
            raise ValueError(
                "vary must give each knob once, with its values once: "
                f"'knob=value|value knob=value'. Received: {words} in "
                f"vary={vary}."
            )
        knobs[name] = texts
    return knobs


def _part_of(words, name, method):
    """The part of a recipe's words that has a knob."""
    if name in ("method", "workdir"):
        raise ValueError(
            f"vary must not change {name}. Received: vary={name}. Make a "
            "sweep for each."
        )
    for part in words.values():
        if name in part:
            return part
    raise ValueError(
        f"vary names a knob that {method} does not have. Received: vary={name}."
    )
