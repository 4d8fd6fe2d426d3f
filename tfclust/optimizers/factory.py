"""The optimizer, and the learning rate, that an `OptimizerConfig` describes."""

from tfclust.optimizers.adaptive import AdamW, Lamb
from tfclust.optimizers.momentum import LARS, SGD
from tfclust.optimizers.schedules import Delayed, WarmupCosine, WarmupDrops

_FINAL_SHARE = 1e-3  # 4.8 -> 0.0048 and 0.6 -> 0.0006 in SwAV's recipes


def build(config, *, steps_per_epoch, total_steps):
    """The optimizer that `config` describes.

    Args:
      config: an `OptimizerConfig`.
      steps_per_epoch: int, optimizer steps of an epoch.
      total_steps: int, optimizer steps of the whole run.

    Returns:
      A Keras optimizer of this package.

    Raises:
      ValueError: if the warm-up is longer than the run, or idle epochs and
        the warm-up fill it.
    """
    rate = learning_rate(
        config, steps_per_epoch=steps_per_epoch, total_steps=total_steps
    )
    decay, momentum = config.weight_decay, config.momentum
    options: dict = {"clip_norm": config.clip_norm}
    if config.final_weight_decay is not None:
        options["decay_schedule"] = WarmupCosine(
            decay, total_steps=total_steps, final_rate=config.final_weight_decay
        )
    if config.optimizer == "sgd":
        return SGD(rate, momentum, decay, **options)
    if config.optimizer == "adamw":
        return AdamW(rate, weight_decay=decay, beta_1=momentum, **options)
    if config.optimizer == "lamb":
        return Lamb(rate, weight_decay=decay, beta_1=momentum, **options)
    plain = config.optimizer == "lars_vectors_plain"
    flavour = "vectors_plain" if plain else "swav"
    return LARS(rate, momentum, decay, flavour=flavour, **options)


def learning_rate(config, *, steps_per_epoch, total_steps):
    """The schedule that `config` describes; arguments as in `build`."""
    idle_steps = round(config.idle_epochs * steps_per_epoch)
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    if idle_steps and idle_steps + warmup_steps >= total_steps:
        raise ValueError(
            "idle_epochs, in which the learning rate is 0, and warmup_epochs "
            f"must leave some of the {total_steps} steps. Received: "
            f"idle_epochs={config.idle_epochs:g}, warmup_epochs="
            f"{config.warmup_epochs:g} of {steps_per_epoch} steps. Lower them, "
            "or train for longer."
        )
    warmup = {
        "warmup_steps": warmup_steps,
        "start_rate": config.start_learning_rate,
    }
    if config.schedule == "constant":
        # rate_drops count idle epochs too; the schedule does not.
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
            total_steps=total_steps - idle_steps,
            final_rate=final,
            **warmup,
        )
    return Delayed(schedule, idle_steps) if idle_steps else schedule
