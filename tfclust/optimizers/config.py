"""The optimizer's knobs, and the optimizer they describe."""

import dataclasses

from tfclust import options
from tfclust.optimizers.adaptive import AdamW, Lamb
from tfclust.optimizers.momentum import LARS, SGD
from tfclust.optimizers.schedules import Delayed, WarmupCosine, WarmupDrops
from tfclust.options import option

_FINAL_SHARE = 1e-3  # 4.8 -> 0.0048 and 0.6 -> 0.0006 in SwAV's recipes


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Which optimizer, and how fast it learns at each step."""

    optimizer: str = option(
        "lars",
        "lars scales each tensor's step by its weights' norm; "
        "lars_vectors_plain leaves biases and batch norm plain, as CoKe does; "
        "sgd has L2 inside the momentum; adamw and lamb are Keras's.",
        source="SwAV",
        choices=("lars", "lars_vectors_plain", "sgd", "adamw", "lamb"),
    )
    learning_rate: float = option(
        0.6,
        "Largest learning rate; used as given, whatever the batch size.",
        source="SwAV, batch 256",
        lower=0.0,
    )
    schedule: str = option(
        "cosine",
        "After the warm-up the rate falls on half a cosine, or stays constant "
        "but for rate_drops.",
        source="SwAV",
        choices=("cosine", "constant"),
    )
    rate_drops: tuple[tuple[float, float], ...] = option(
        (),
        "Pairs epoch:factor; from that epoch on (from 0) the constant rate is "
        "also multiplied by that factor. 150:0.1,300:0.1 in SeLa.",
        source="SeLa, ODC",
        lower=0.0,
    )
    idle_epochs: float = option(
        0.0,
        "Epochs at rate 0 before all else, in which only clusters form; 1 in "
        "CoKe.",
        unit="epochs",
        source="CoKe",
        lower=0.0,
    )
    final_learning_rate: float | None = option(
        None,
        "Rate the cosine tends to; empty for a thousandth of learning_rate.",
        source="SwAV",
        lower=0.0,
    )
    warmup_epochs: float = option(
        0.0,
        "Length of the linear warm-up; 10 in SwAV at batch 4096.",
        unit="epochs",
        source="SwAV, batch 256",
        lower=0.0,
    )
    start_learning_rate: float = option(
        0.0,
        "Rate of the first step of the warm-up; 0.3 in SwAV at batch 4096.",
        source="SwAV",
        lower=0.0,
    )
    weight_decay: float = option(
        1e-6,
        "L2 inside the momentum (lars, sgd), decoupled (adamw, lamb).",
        source="SwAV",
        lower=0.0,
    )
    momentum: float = option(
        0.9,
        "Momentum (lars, sgd); decay of the first moment (adamw, lamb).",
        source="SwAV",
        lower=0.0,
        upper=0.999999,
    )

    def __post_init__(self):
        options.check(self)
        for name in ("final_learning_rate", "start_learning_rate"):
            rate = getattr(self, name)
            if rate is not None and rate > self.learning_rate:
                raise ValueError(
                    f"{name} must be at most learning_rate. Received: "
                    f"{name}={rate}, learning_rate={self.learning_rate}."
                )
        if self.schedule == "constant" and self.final_learning_rate is not None:
            raise ValueError(
                "final_learning_rate is read by the cosine schedule alone. "
                f"Received: final_learning_rate={self.final_learning_rate} "
                "with schedule=constant. Leave one of them out."
            )
        if self.schedule != "constant" and self.rate_drops:
            raise ValueError(
                "rate_drops are read by the constant schedule alone. Received: "
                f"rate_drops={options.text(self.rate_drops)} with "
                f"schedule={self.schedule}. Add schedule=constant."
            )


def build(config, *, steps_per_epoch, total_steps):
    """The optimizer that `config` describes.

    Args:
      config: an `OptimizerConfig`.
      steps_per_epoch: int, optimizer steps of an epoch.
      total_steps: int, optimizer steps of the whole run.

    Returns:
      A Keras optimizer of this package.

    Raises:
      ValueError: if the warm-up is longer than the run.
    """
    rate = learning_rate(
        config, steps_per_epoch=steps_per_epoch, total_steps=total_steps
    )
    decay, momentum = config.weight_decay, config.momentum
    if config.optimizer == "sgd":
        return SGD(rate, momentum, decay)
    if config.optimizer == "adamw":
        return AdamW(rate, weight_decay=decay, beta_1=momentum)
    if config.optimizer == "lamb":
        return Lamb(rate, weight_decay=decay, beta_1=momentum)
    plain = config.optimizer == "lars_vectors_plain"
    flavour = "vectors_plain" if plain else "swav"
    return LARS(rate, momentum, decay, flavour=flavour)


def learning_rate(config, *, steps_per_epoch, total_steps):
    """The schedule that `config` describes; arguments as in `build`."""
    idle_steps = round(config.idle_epochs * steps_per_epoch)
    warmup = {
        "warmup_steps": round(config.warmup_epochs * steps_per_epoch),
        "start_rate": config.start_learning_rate,
    }
    if config.schedule == "constant":
        # An epoch of rate_drops counts the idle ones; the schedule does not.
        drops = [
            (max(0, round(epoch * steps_per_epoch) - idle_steps), factor)
            for epoch, factor in config.rate_drops
        ]
        schedule = WarmupDrops(config.learning_rate, drops=drops, **warmup)
    else:
        final = config.final_learning_rate
        if final is None:
            final = _FINAL_SHARE * config.learning_rate
        schedule = WarmupCosine(
            config.learning_rate,
            total_steps=max(1, total_steps - idle_steps),
            final_rate=final,
            **warmup,
        )
    return Delayed(schedule, idle_steps) if idle_steps else schedule
