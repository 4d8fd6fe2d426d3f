"""What a run's first lines say of settings that were seen to fail."""

from tfclust.engine.planning import usual_rate

_SMALL_VIEW = 64  # pixels
_STRONG_JITTER = 0.8
_MANY_TIMES = 4  # the usual rate; SwAV's at 4,096 is twice it


def notices(recipe, facts):
    """Sentences on settings that are allowed but rarely intended.

    Args:
      recipe: a `Recipe`.
      facts: `RunFacts`.

    Returns:
      list of str: the method's own, then those of views and optimizer.
    """
    found = [*recipe.method.notices(facts)]
    side = recipe.largest_view
    if side <= _SMALL_VIEW and (facts.jitter_strength or 0) > _STRONG_JITTER:
        found.append(
            f"Colours change at full strength in views of {side} pixels, from "
            "which CIFAR-10 was not learnt at all, and well at half of it. "
            "Give --jitter_strength=0.5."
        )
    optimizer = recipe.optimizer
    usual = usual_rate(optimizer.optimizer, facts.batch_size)
    if optimizer.learning_rate > _MANY_TIMES * usual:
        found.append(
            f"A learning rate of {optimizer.learning_rate:g} is high for "
            f"{optimizer.optimizer} and batches of {facts.batch_size}: "
            "published rates belong to their optimizers and batches, and "
            f"{usual:.2g} would be usual here (--learning_rate)."
        )
    return found
