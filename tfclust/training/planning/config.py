"""Knobs of a plan."""

import dataclasses

from tfclust import options
from tfclust.options import option

MINUTES = 30.0


@dataclasses.dataclass(frozen=True)
class PlanConfig:
    """The plan that is made where no recipe is given."""

    minutes: float | None = option(
        None,
        f"Time for training, by which a plan chooses its length; empty for "
        f"{MINUTES:g}.",
        unit="minutes",
        lower=0.1,
    )

    def __post_init__(self):
        options.check(self)

    def check_length(self, run):
        """Refuses minutes where a `RunConfig` has a length already."""
        if self.minutes is None or (run.epochs is None and run.steps is None):
            return
        raise ValueError(
            "minutes is for a plan, which settles a run's length. Received: "
            f"minutes={self.minutes:g} beside epochs={run.epochs}, "
            f"steps={run.steps}. Leave minutes out, or the length."
        )
