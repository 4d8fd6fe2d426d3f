"""Knobs of SeLa."""

import dataclasses

from tfclust.engine.config import HEAD_STARTS, BalanceConfig
from tfclust.options import option


@dataclasses.dataclass(frozen=True)
class SeLaConfig(BalanceConfig):
    """Knobs of SeLa; defaults are the source's for ImageNet."""

    num_clusters: tuple[int, ...] = option(
        (3000,) * 10,
        "Clusters, one value a head.",
        source="SeLa, table 4",
        lower=2,
    )
    projection_width: int = option(
        0,
        "Width of projections; 0 takes the features without their negative "
        "part, as the paper does.",
        source="self-label, main.py",
        lower=0,
    )
    sinkhorn_lambda: float = option(
        25.0,
        "Power on probabilities in the label step, lambda of the paper; "
        "larger is harder. 10 for CIFAR.",
        source="self-label, main.py",
        lower=1e-3,
    )
    num_label_steps: int = option(
        100,
        "Label steps of the run, the first before any training; those due "
        "after the last step never come.",
        source="self-label, main.py",
        lower=1,
    )
    label_schedule: str = option(
        "quadratic",
        "Label steps come often at first and seldom later (ImageNet), or "
        "evenly (CIFAR).",
        source="self-label, main.py and cifar.py",
        choices=("quadratic", "even"),
    )
    relabel: str = option(
        "all",
        "A label step is for all heads (ImageNet), or cyclic: for head "
        "(epoch mod H) alone (CIFAR).",
        source="self-label, main.py and cifar.py",
        choices=("all", "cyclic"),
    )
    assignment: str = option(
        "sinkhorn",
        "Labels are the best predicted ones of balanced clusters, or k-means "
        "of the features, to compare.",
        source="SeLa, sec. 4.1",
        choices=("sinkhorn", "kmeans"),
    )
    head_start: str = option(
        "uniform",
        "First weights of the heads: uniform within +-1 / sqrt(width), "
        "or normal, N(0, 0.01) with biases of 0, as on AlexNet.",
        source="self-label, models/resnetv1.py and alexnet.py",
        choices=HEAD_STARTS,
    )
