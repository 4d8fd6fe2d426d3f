"""One command's part of a run: what `fitting` and its callbacks work on."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from tfclust import data, methods, optimizers
from tfclust.engine.loop import total_steps
from tfclust.runs.facts import facts
from tfclust.runs.recipes import Recipe


@dataclasses.dataclass(frozen=True)
class Session:
    """A run from the start of a command to its end."""

    recipe: Recipe
    method: methods.Method  # with its state
    views: data.Views
    test: data.Source | None  # of the online kNN
    workdir: pathlib.Path
    about: dict[str, Any]  # for the manifests of its checkpoints
    chief: bool  # whether this host writes
    start_step: int  # steps done before
    say: Callable  # called with sentences

    @property
    def run(self):
        """The `RunConfig`."""
        return self.recipe.run

    @property
    def total_steps(self):
        """Optimizer steps done at the run's end."""
        return total_steps(self.views, self.run.epochs, self.run.steps)

    @property
    def facts(self):
        """The `RunFacts`."""
        return facts(self.recipe, self.views)

    def learning_rate(self):
        """Function from a step, 0 for the first, to its learning rate."""
        return optimizers.learning_rate(
            self.recipe.optimizer,
            steps_per_epoch=self.views.steps_per_epoch,
            total_steps=self.total_steps,
        )
