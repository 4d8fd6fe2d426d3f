"""Optimizers as the papers have them, schedules, and rules by variable."""

from tfclust.optimizers.adaptive import AdamW, Lamb
from tfclust.optimizers.config import OptimizerConfig, build, learning_rate
from tfclust.optimizers.momentum import LARS, SGD
from tfclust.optimizers.rules import Rule, reset_slots, set_rules, slots_of
from tfclust.optimizers.schedules import Delayed, WarmupCosine, WarmupDrops

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
