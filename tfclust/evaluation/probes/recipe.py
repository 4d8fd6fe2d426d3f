"""How a linear probe is trained by SGD: the papers' settings as knobs."""

import dataclasses
import math

from tfclust.options import check, option

_FALL = 0.1  # of the rate at a milestone; all papers
_MOMENTUM = 0.9  # all papers


@dataclasses.dataclass(frozen=True)
class ProbeConfig:
    """Knobs of probes trained by SGD; the defaults are SwAV's."""

    linear_epochs: int = option(
        100,
        "Epochs of the SGD probe.",
        unit="epochs",
        source="SwAV, A.3",
        lower=1,
    )
    linear_rate: float = option(
        0.3,
        "Learning rate of the SGD probe at its start.",
        source="SwAV, eval_linear.py",
        lower=0.0,
    )
    linear_schedule: str = option(
        "cosine",
        "How the rate falls: as a cosine by epoch to 0 (SwAV, CoKe); to a "
        "tenth at each of linear_milestones (SeLa, OpenSelfSup); or, in step "
        "t, as 1 / sqrt(1 + rate * weight decay * t) (inverse_root, "
        "DeepCluster).",
        choices=("cosine", "milestones", "inverse_root"),
    )
    linear_milestones: tuple[int, ...] = option(
        (),
        "Epochs, from 0, before which linear_schedule=milestones cuts the "
        "rate to a tenth.",
        unit="epochs",
        lower=1,
    )
    linear_weight_decay: float = option(
        1e-6,
        "Weight decay of the SGD probe.",
        source="SwAV, eval_linear.py",
        lower=0.0,
    )
    linear_nesterov: bool = option(
        False, "Whether the momentum is Nesterov's, as in OpenSelfSup."
    )
    linear_batch_size: int = option(
        256,
        "Batch size of the SGD probe.",
        source="SwAV, eval_linear.py",
        lower=1,
    )
    linear_batch_norm: str = option(
        "none",
        "Batch norm before the linear layer: plain has no scale and offset of "
        "its own (SeLa and OpenSelfSup by layer), affine has (SwAV's use_bn).",
        choices=("none", "plain", "affine"),
    )
    linear_crops: str = option(
        "random",
        "Images that the SGD probe learns from: crops of 0.08 to 1 of the "
        "area and flips (SwAV, CoKe, SeLa, OpenSelfSup); crops of one scale "
        "from the resized square and flips (fixed, DeepCluster); or the test's "
        "own centre.",
        choices=("random", "fixed", "centre"),
    )
    linear_jitter: float = option(
        0.0,
        "Largest change of brightness, contrast and saturation of random "
        "crops; 0.4 in OpenSelfSup by layer.",
        lower=0.0,
        upper=1.0,
    )
    linear_test_crops: int = option(
        1,
        "Crops of a test image, whose answers are averaged: the centre; or "
        "the four corners and the centre and their mirror images (DeepCluster "
        "and SeLa on AlexNet).",
        choices=(1, 10),
    )
    linear_crop_mean: str = option(
        "probabilities",
        "What is averaged over test crops: probabilities (DeepCluster) or "
        "logits (SeLa).",
        choices=("probabilities", "logits"),
    )
    linear_best_epoch: bool = option(
        True,
        "Whether the probe is tested after each epoch, to name the best one "
        "beside the last; the last is the figure that counts. By layer, and "
        "with ten crops, that is a pass over the test images each.",
    )

    def __post_init__(self):
        check(self)
        stones = self.linear_milestones
        if bool(stones) != (self.linear_schedule == "milestones"):
            raise ValueError(
                "linear_milestones belong to linear_schedule=milestones. "
                f"Received: linear_schedule={self.linear_schedule}, "
                f"linear_milestones={','.join(map(str, stones)) or 'none'}. "
                "Give both, such as --linear_schedule=milestones "
                "--linear_milestones=60,80, or neither."
            )
        if list(stones) != sorted(set(stones)):
            raise ValueError(
                "linear_milestones must rise. Received: linear_milestones="
                f"{','.join(map(str, stones))}."
            )


def rate_at(config, epoch, step):
    """The learning rate of a step.

    Args:
      config: `ProbeConfig`.
      epoch: int, from 0. step: int, from 0, over all epochs.
    """
    rate = config.linear_rate
    if config.linear_schedule == "cosine":
        turn = math.pi * epoch / config.linear_epochs
        return rate * (1 + math.cos(turn)) / 2
    if config.linear_schedule == "milestones":
        passed = sum(epoch >= stone for stone in config.linear_milestones)
        return rate * _FALL**passed
    return rate / math.sqrt(1 + rate * config.linear_weight_decay * step)


def optimizer_of(config):
    """The optimizer of all probes, at the rate of the first step."""
    from tfclust import optimizers  # imports TensorFlow

    return optimizers.SGD(
        config.linear_rate,
        momentum=_MOMENTUM,
        weight_decay=config.linear_weight_decay,
        nesterov=config.linear_nesterov,
    )
