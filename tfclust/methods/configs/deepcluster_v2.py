"""Knobs of DeepCluster-v2."""

import dataclasses

from tfclust.engine.config import ClusteringConfig, few_images_for_kmeans
from tfclust.options import option


@dataclasses.dataclass(frozen=True)
class DeepClusterV2Config(ClusteringConfig):
    """Knobs of DeepCluster-v2; defaults are the paper's for ImageNet."""

    num_clusters: tuple[int, ...] = option(
        (3000, 3000, 3000),
        "Clusters of each head.",
        source="main_deepclusterv2.py",
        lower=2,
    )
    temperature: float = option(
        0.1,
        "Softmax temperature of predictions.",
        source="SwAV, appendix D",
        lower=1e-6,
    )
    kmeans_iters: int = option(
        10,
        "Iterations of spherical k-means before each epoch.",
        source="main_deepclusterv2.py",
        lower=1,
    )

    def notices(self, facts):
        return few_images_for_kmeans(self, facts)
