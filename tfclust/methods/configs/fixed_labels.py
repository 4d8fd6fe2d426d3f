"""Knobs of fixed labels."""

import dataclasses

from tfclust.engine.config import HEAD_STARTS, ClusteringConfig, MethodConfig
from tfclust.engine.planning import Setting, one_size, rates
from tfclust.options import SHAPES, check, option

SOURCE = "source"  # as pseudo_labels: the images' own


@dataclasses.dataclass(frozen=True)
class FixedLabelsConfig(ClusteringConfig):
    """Knobs of fixed labels."""

    num_clusters: tuple[int, ...] = option(
        (),
        "Classes, one value per head; empty for as many as the labels have.",
        lower=2,
        resume="never",
        why_never=SHAPES,
    )
    projection_width: int = option(
        0,
        "Width of projections between features and classifier; 0 takes the "
        "features without their negative part, which AlexNet's still have.",
        source="SeLa, ResNets",
        lower=0,
        resume="never",
        why_never=SHAPES,
    )
    pseudo_labels: str = option(
        "",
        "Where labels come from: the folder of a run on the same images, for "
        "its final labels; a .csv file, as SeLa's published ones or a run's "
        "clusters.csv; or the word source, for the images' own labels (the "
        "supervised baseline).",
        source="SeLa, sec. 4",
        resume="never",
        why_never="it is read only at a run's start",
    )
    rotation: bool = option(
        False,
        "Whether to predict also by how many quarter turns an image was "
        "rotated.",
        source="SeLa, SL+Rot",
        resume="never",
        why_never=SHAPES,
    )
    head_start: str = option(
        "uniform",
        "First weights of the labels' heads: uniform within +-1 / sqrt(width), "
        "or normal, N(0, 0.01) with biases of 0, as on AlexNet.",
        source="self-label, models/resnetv1.py and alexnet.py",
        choices=HEAD_STARTS,
    )

    def __post_init__(self):
        check(self)  # num_clusters may wait for the labels

    @property
    def labels_from(self):
        return self.pseudo_labels

    @property
    def fills_clusters(self):
        return False  # classes come from outside

    def remedies(self, facts, figures):
        # Another number of clusters does not help if classes are given, and
        # classes that are not predicted yet are not an error.
        return MethodConfig.remedies(self, facts, figures)

    def watched(self, facts):
        # Given classes may be as uneven as they like.
        return {"flat": self.settling_steps(facts)}

    @classmethod
    def plan(cls, facts):
        return {
            **super().plan(facts),
            "projection_width": Setting(0, "a classifier on the features"),
            **one_size(facts, 1),
            **rates(facts, 0.1, weight_decay=5e-4),
            "grey_probability": Setting(0.0, "labels may tell by colour"),
        }
