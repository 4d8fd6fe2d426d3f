"""What a run's first lines say of settings that were seen to fail."""

_SMALL_VIEW = 64  # pixels
_STRONG_JITTER = 0.8
# SwAV's rate grows with the batch: 0.6 at 256, 4.8 at 4096 (with a warm-up).
_RATE, _AT_BATCH, _MANY_TIMES = 0.6, 256, 4


def notices(session):
    """Sentences on settings that are allowed but rarely intended.

    Args:
      session: a `Session`.

    Returns:
      list of str: the method's own, then those of views and optimizer.
    """
    facts = session.facts
    found = [*session.recipe.method.notices(facts)]
    side = session.views.view_sizes[0]
    if side <= _SMALL_VIEW and (facts.jitter_strength or 0) > _STRONG_JITTER:
        found.append(
            f"Colours change at full strength in views of {side} pixels, from "
            "which CIFAR-10 was not learnt at all, and well at half of it. "
            "Give --jitter_strength=0.5."
        )
    optimizer = session.recipe.optimizer
    largest = _MANY_TIMES * _RATE * facts.batch_size / _AT_BATCH
    published = optimizer.optimizer not in ("adamw", "lamb")
    if published and optimizer.learning_rate > largest:
        fitting = _RATE * facts.batch_size / _AT_BATCH
        found.append(
            f"A learning rate of {optimizer.learning_rate:g} is high for "
            f"batches of {facts.batch_size}: published rates belong to their "
            f"batches, {_RATE:g} to {_AT_BATCH}, which would be {fitting:.2g} "
            "here (--learning_rate)."
        )
    return found
