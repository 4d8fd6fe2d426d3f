"""Knobs of ODC."""

import dataclasses

from tfclust.engine.config import ClusteringConfig, few_images_for_kmeans
from tfclust.engine.planning import Setting, one_size, rates
from tfclust.options import SHAPES, option


@dataclasses.dataclass(frozen=True)
class ODCConfig(ClusteringConfig):
    """Knobs of ODC; defaults are the paper's for ImageNet."""

    num_clusters: tuple[int, ...] = option(
        (10000,),
        "Clusters; N / 128 at ImageNet.",
        source="ODC, sec. 4.1",
        lower=2,
        resume="never",
        why_never=SHAPES,
    )
    projection_width: int = option(
        256,
        "Width of projections, which the memory keeps.",
        source="OpenSelfSup, ODC",
        lower=1,
        resume="never",
        why_never=SHAPES,
    )
    hidden_width: int = option(
        512,
        "Width of the projector's hidden layer.",
        source="OpenSelfSup, ODC",
        lower=1,
        resume="never",
        why_never=SHAPES,
    )
    dropout: float = option(
        0.5,
        "Share of the projector's hidden values dropped in training.",
        source="OpenSelfSup, ODC",
        lower=0.0,
        upper=0.99,
    )
    bn_momentum: float = option(
        0.999,
        "Share of the projector's running statistics that a step keeps; lower "
        "it for runs of a few thousand steps.",
        source="OpenSelfSup, ODC (PyTorch's 0.001)",
        lower=0.0,
        upper=0.99999,
    )
    memory_weight: float = option(
        0.5,
        "Weight of an image's new projection relative to that in the memory.",
        source="ODC, sec. 4.1",
        lower=0.0,
        upper=1.0,
    )
    centroid_steps: int = option(
        10,
        "Steps between two computations of all centroids.",
        unit="steps",
        source="ODC, sec. 4.1",
        lower=1,
    )
    min_cluster: int | None = option(
        None,
        "A cluster with fewer images is dissolved; 20 at ImageNet. Empty for "
        "the same share of N / K, 0.16.",
        unit="images",
        source="ODC, sec. 4.1",
        lower=1,
    )
    smallest_part: int | None = option(
        None,
        "A cluster is halved at random if 2-means would leave a part with "
        "fewer images than this; 1 as published. Empty for min_cluster, which "
        "leaves no small cluster at all.",
        unit="images",
        lower=1,
    )
    kmeans_iters: int = option(
        20,
        "Iterations of the k-means that gives the first labels.",
        source="OpenSelfSup, ODC",
        lower=1,
    )

    def __post_init__(self):
        super().__post_init__()
        if len(self.num_clusters) != 1:
            raise ValueError(
                "ODC has one clustering: num_clusters needs one value. "
                f"Received: {len(self.num_clusters)} values."
            )

    def notices(self, facts):
        return few_images_for_kmeans(self, facts)

    @classmethod
    def plan(cls, facts):
        return {
            **super().plan(facts),
            "num_clusters": Setting(
                (facts.clusters(images_a_cluster=40),),
                "2 sqrt(N), and 40 images each so that few are small",
            ),
            "projection_width": Setting(256, "ODC's own"),
            "dropout": Setting(0.2, "as in CIFAR's recipe"),
            "bn_momentum": Setting(0.99, "for some thousand steps"),
            **one_size(facts, 1),
            **rates(facts, 0.2, weight_decay=1e-4),
        }
