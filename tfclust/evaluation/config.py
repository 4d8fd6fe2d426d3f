"""Knobs of evaluation: what all protocols share, and each protocol's own."""

import dataclasses
from typing import Any

from tfclust.evaluation.intervals import RESAMPLES
from tfclust.evaluation.protocols.table import PROTOCOLS
from tfclust.options import check, option

BASELINES = ("untrained", "pixels", "colours")
KINDS = ("labels", "label sets", "masks", "no labels")


def _defaults(kind):
    """The protocols measured on such images if none is asked for, in words."""
    names = [n for n, of in PROTOCOLS.items() if kind in of.default_for]
    return " ".join(names)


@dataclasses.dataclass(frozen=True)
class SharedConfig:
    """What is measured, what it is compared with, and shared settings."""

    protocols: tuple[str, ...] = option(
        (),
        "What to measure: "
        + ", ".join(protocol.words for protocol in PROTOCOLS.values())
        + "; empty for "
        + ", ".join(
            f"{_defaults(kind)} on images with {kind}" for kind in KINDS
        )
        + ".",
        choices=tuple(PROTOCOLS),
    )
    baselines: tuple[str, ...] = option(
        BASELINES,
        "What to compare with: the same network with fresh weights, the "
        "images' own pixels, and how often each colour occurs in them; empty "
        "for nothing.",
        choices=BASELINES,
    )
    evaluation_batch_size: int = option(
        256, "Images in a forward pass.", unit="images", lower=1
    )
    feature_relu: bool = option(
        False,
        "Whether a ReLU follows the features: those of AlexNet and VGG are "
        "fc7 before its own, which DeepCluster clusters and SeLa's kNN does "
        "not see.",
        source="SeLa, cifar_utils.py",
    )
    feature_cache_gb: float = option(
        4.0,
        "Features are kept in cache_dir, or in the run's cache, up to this "
        "size, by what they are computed from; 0 keeps none.",
        unit="GB",
        lower=0.0,
    )
    evaluation_seed: int = option(
        0,
        "Seed of k-means starts, held-out images, probes and intervals.",
        lower=0,
        upper=2**32 - 1,
    )
    bootstrap_resamples: int | None = option(
        None,
        "Draws of the test images for 95 % intervals of mAP, mIoU and "
        "retrieval, and of agreement of clusters; empty for 200, but for "
        "agreement, whose draws take longer, only with compare. Intervals of "
        "shares, such as top-1, need none.",
        lower=0,
    )

    @property
    def intervals(self):
        """Draws and seed of intervals that take little time."""
        draws = self.bootstrap_resamples
        return {
            "resamples": RESAMPLES if draws is None else draws,
            "seed": self.evaluation_seed,
        }

    def __post_init__(self):
        check(self)
        for name in ("protocols", "baselines"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(
                    f"{name} must name each only once. Received: "
                    f"{','.join(values)}."
                )


# A dataclass takes the fields of its last base first.
_PARTS: tuple[Any, ...] = (
    *(protocol.Config for protocol in reversed(PROTOCOLS.values())),
    SharedConfig,
)


@dataclasses.dataclass(frozen=True)
class EvaluationConfig(*_PARTS):  # type: ignore[misc]
    """Protocols and their settings."""

    def __post_init__(self):
        for part in _PARTS:
            if hasattr(part, "__post_init__"):  # some have no knobs to check
                part.__post_init__(self)
