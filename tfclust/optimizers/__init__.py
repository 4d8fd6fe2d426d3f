"""Optimizers as in the papers, schedules, and rules by variable."""

from typing import TYPE_CHECKING

from tfclust.runtime.first_use import on_first_use

if TYPE_CHECKING:
    from tfclust.optimizers.adaptive import AdamW, Lamb
    from tfclust.optimizers.config import OptimizerConfig
    from tfclust.optimizers.factory import build, learning_rate
    from tfclust.optimizers.momentum import LARS, SGD
    from tfclust.optimizers.rules import Rule, reset_slots, set_rules, slots_of
    from tfclust.optimizers.schedules import Delayed, WarmupCosine, WarmupDrops
else:
    __getattr__, __dir__ = on_first_use(__name__)

__all__ = [
    "LARS",
    "SGD",
    "AdamW",
    "Delayed",
    "Lamb",
    "OptimizerConfig",
    "Rule",
    "WarmupCosine",
    "WarmupDrops",
    "build",
    "learning_rate",
    "reset_slots",
    "set_rules",
    "slots_of",
]
