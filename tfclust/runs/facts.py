"""What is known of a run before its first step, from its recipe."""

import math

from tfclust.data.config import chain
from tfclust.engine.facts import facts_of
from tfclust.engine.loop import total_steps


def facts(recipe, views):
    """The `RunFacts` of a recipe.

    Args:
      recipe: a `Recipe`.
      views: `data.Views`, or what else knows their numbers:
        `RememberedViews`, a plan's `PlanFacts`.
    """
    optimizer, colours = recipe.optimizer, chain(recipe.views)
    first = optimizer.idle_epochs + optimizer.warmup_epochs
    changed = colours.jitter_probability > 0 and colours.jitter.any()
    return facts_of(
        views,
        total_steps(views, recipe.run.epochs, recipe.run.steps),
        warmup_steps=math.ceil(first * views.steps_per_epoch),
        learning_rate=optimizer.learning_rate,
        jitter_strength=recipe.views.jitter_strength if changed else 0.0,
        stored_size=recipe.views.stored_size,
        antialias_from=recipe.views.antialias_from,
    )
