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
