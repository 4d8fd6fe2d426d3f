"""What `Method.fit` says, and whom it calls."""

import keras

from tfclust import data
from tfclust.engine.console import Console
from tfclust.engine.facts import facts_of
from tfclust.engine.history import EpochHistory
from tfclust.runtime import terminal


def listed(callbacks):
    """Callbacks as a list: of several, of one, or of None."""
    if isinstance(callbacks, keras.callbacks.Callback):
        return [callbacks]
    return [*(callbacks or ())]


def begin(config, views, total_steps, start_step):
    """Says what is missing and which settings are rarely meant.

    Returns:
      list of the callbacks that tell of epochs.
    """
    facts = facts_of(
        views,
        total_steps,
        stored_size=views.config.stored_size,
        antialias_from=views.config.antialias_from,
    )
    lines = [*data.left_out(views.source), *config.notices(facts)]
    for line in lines:
        terminal.say(line)
    history = EpochHistory()
    return [history, Console(history, config, facts, start_step)]
