"""A recipe: all settings of one run, in five frozen dataclasses."""

import dataclasses
import difflib
import numbers
from typing import NamedTuple

from tfclust import options
from tfclust.backbones import BackboneConfig
from tfclust.data import ViewsConfig
from tfclust.engine.config import MethodConfig
from tfclust.methods.configs.table import CONFIGS as METHOD_CONFIGS
from tfclust.optimizers import OptimizerConfig
from tfclust.runs.config import RunConfig


class Recipe(NamedTuple):
    """All settings of a run."""

    run: RunConfig
    method: MethodConfig
    views: ViewsConfig
    backbone: BackboneConfig
    optimizer: OptimizerConfig

    @property
    def largest_view(self):
        """Side of the largest views, in pixels."""
        return max(self.views.view_sizes or (self.run.image_size,))


CONFIGS = {
    "run": RunConfig,
    "views": ViewsConfig,
    "backbone": BackboneConfig,
    "optimizer": OptimizerConfig,
}


def make_recipe(**knobs):
    """A `Recipe` from knobs by name, for notebooks.

    Args:
      **knobs: fields of `RunConfig`, `ViewsConfig`, `BackboneConfig`,
        `OptimizerConfig` and of the method's config. `num_clusters` may be an
        int.

    Raises:
      ValueError: if a knob is unknown or out of its bounds.
    """
    if isinstance(knobs.get("num_clusters"), numbers.Integral):
        knobs["num_clusters"] = (knobs["num_clusters"],)
    names = {part: set(options.kinds(of)) for part, of in CONFIGS.items()}
    run = RunConfig(**{n: v for n, v in knobs.items() if n in names["run"]})
    classes = {**CONFIGS, "method": METHOD_CONFIGS[run.method]}
    names["method"] = set(options.kinds(classes["method"]))
    _refuse_unknown(set(knobs), set().union(*names.values()), run.method)
    return Recipe(
        **{
            part: of(**{n: knobs[n] for n in names[part] & set(knobs)})
            for part, of in classes.items()
        }
    )


def to_words(recipe):
    """`{part: {knob: text}}`, which `from_words` reads back."""
    return {
        part: {
            name: options.text(getattr(config, name))
            for name in options.kinds(type(config))
        }
        for part, config in recipe._asdict().items()
    }


def from_words(words):
    """The `Recipe` from `to_words`; missing knobs keep their default.

    Raises:
      ValueError: if the words are not a recipe of this version.
    """
    try:
        run = config_of(RunConfig, words["run"])
        classes = {**CONFIGS, "method": METHOD_CONFIGS[run.method]}
        parts = {
            part: config_of(of, words[part]) for part, of in classes.items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            "a recipe must be what this version of tfclust writes: knobs by "
            f"their part. Received: {error!r} in a saved recipe."
        ) from error
    return Recipe(**parts)


def with_words(recipe, knobs):
    """The `Recipe` with other values of some knobs.

    Args:
      recipe: a `Recipe`.
      knobs: `{knob: text}`; a knob that the recipe lacks changes nothing.

    Raises:
      ValueError: if a text does not parse, or a value leaves its bounds.
    """
    words = {
        part: {name: knobs.get(name, text) for name, text in of.items()}
        for part, of in to_words(recipe).items()
    }
    return from_words(words)


def differences(recipe, words):
    """Knobs in which `recipe` differs from the recipe in `words`.

    Returns:
      list of `(name, value then, value now)` as text.
    """
    then = {n: v for part in words.values() for n, v in part.items()}
    now = {n: v for part in to_words(recipe).values() for n, v in part.items()}
    about = knobs_of(recipe)
    # What a run does that was begun before there was the knob.
    usual = {
        field.name: options.text(field.default)
        for config in recipe
        for field in dataclasses.fields(config)
    }
    changed = []
    for name, value in now.items():
        was = then.get(name, usual[name])
        if was != value and about[name].resume != "free":
            changed.append((name, was, value))
    return changed


def knobs_of(recipe):
    """`{knob: options.Option}` of all parts of a recipe."""
    return {
        name: about
        for config in recipe
        for name, about in options.about(type(config)).items()
    }


def _refuse_unknown(given, known, method):
    for name in sorted(given - known):
        readers = [
            m for m, c in METHOD_CONFIGS.items() if name in options.kinds(c)
        ]
        close = difflib.get_close_matches(name, known, n=1)
        raise ValueError(
            f"a recipe of {method} has no knob {name}."
            + (f" It is read only by {', '.join(readers)}." if readers else "")
            + (f" Did you mean {close[0]}?" if close and not readers else "")
        )


def config_of(config_class, words):
    """A config from `{knob: text}`; missing knobs keep their default."""
    kinds = options.kinds(config_class)
    return config_class(
        **{
            name: options.parse(text, kinds[name])
            for name, text in words.items()
            if name in kinds
        }
    )
