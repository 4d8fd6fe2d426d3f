"""Knobs of SeLa."""

import dataclasses

from tfclust.engine.config import HEAD_STARTS, BalanceConfig
from tfclust.engine.planning import Setting, multi_crop, rates
from tfclust.options import SHAPES, option


@dataclasses.dataclass(frozen=True)
class SeLaConfig(BalanceConfig):
    """Knobs of SeLa; defaults are the source's for ImageNet."""

    num_clusters: tuple[int, ...] = option(
        (3000,) * 10,
        "Clusters, one value per head.",
        source="SeLa, table 4",
        lower=2,
        resume="never",
        why_never=SHAPES,
    )
    projection_width: int = option(
        0,
        "Width of projections; 0 takes the features without their negative "
        "part, as the paper does.",
        source="self-label, main.py",
        lower=0,
        resume="never",
        why_never=SHAPES,
    )
    sinkhorn_lambda: float = option(
        25.0,
        "Power of the probabilities in the label step, the paper's lambda; "
        "larger gives harder labels. 10 for CIFAR.",
        source="self-label, main.py",
        lower=1e-3,
    )
    num_label_steps: int = option(
        100,
        "Label steps of the run, the first before any training; those due "
        "after the last step are not made.",
        source="self-label, main.py",
        lower=1,
    )
    label_schedule: str = option(
        "quadratic",
        "Label steps are frequent at first and rare later (ImageNet), or "
        "evenly spaced (CIFAR).",
        source="self-label, main.py and cifar.py",
        choices=("quadratic", "even"),
    )
    relabel: str = option(
        "all",
        "A label step is for all heads (ImageNet), or cyclic: only for head "
        "(epoch mod H) (CIFAR).",
        source="self-label, main.py and cifar.py",
        choices=("all", "cyclic"),
    )
    assignment: str = option(
        "sinkhorn",
        "Labels come from balanced clusters that fit the predictions best, or "
        "from k-means on the features, for comparison.",
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

    @classmethod
    def plan(cls, facts):
        epochs = facts.total_steps // facts.steps_per_epoch
        return {
            **super().plan(facts),
            "num_clusters": facts.heads(10, images_a_cluster=10),
            "projection_width": Setting(0, "the paper has no projector"),
            "sinkhorn_lambda": Setting(10.0, "CIFAR's (self-label, cifar.py)"),
            "label_schedule": Setting("even", "CIFAR's"),
            "num_label_steps": Setting(
                max(1, min(100, epochs)), "one an epoch, at most the paper's"
            ),
            **multi_crop(facts, 1, 3),
            **rates(facts, 0.1, weight_decay=5e-4),
        }
