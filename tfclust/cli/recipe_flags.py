"""A recipe as the flags of the commands that train."""

from tfclust import options
from tfclust.cli import flags
from tfclust.engine import planning
from tfclust.runs import recipes
from tfclust.runs.config import RunConfig

# What a person with images of his own sets; a plan settles the others.
_FIRST = (
    "data", "workdir", "method", "num_clusters", "image_size", "backbone",
    "init_from", "eval_data", "on_trouble",
)  # fmt: skip


def define(*config_classes):
    """Makes the flags of a recipe, and those of a command's own classes."""
    own = [name for of in config_classes for name in options.about(of)]
    flags.define(
        *config_classes,
        *recipes.CONFIGS.values(),
        first=(*own, *_FIRST),
        method_configs=recipes.METHOD_CONFIGS,
    )


def read():
    """The `Recipe` of the command line.

    Raises:
      ValueError: if a value does not parse or leaves its bounds.
    """
    parts = {name: flags.read(of) for name, of in recipes.CONFIGS.items()}
    method_config = recipes.METHOD_CONFIGS[parts["run"].method]
    return recipes.Recipe(method=flags.read(method_config), **parts)


def given():
    """`{knob: value}` of the recipe's flags on the command line.

    Raises:
      ValueError: if a value does not parse.
    """
    values: dict = {}
    for of in recipes.CONFIGS.values():
        values |= flags.given(of)
    return values | flags.given(
        recipes.METHOD_CONFIGS[values.get("method", RunConfig.method)]
    )


def draft():
    """The `Recipe` of the command line for which a plan is still to come.

    Knobs whose sense depends on what that settles are left out.

    Raises:
      ValueError: if a value does not parse or leaves its bounds.
    """
    return recipes.make_recipe(**planning.draft_of(given()))
