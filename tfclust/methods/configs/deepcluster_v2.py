"""Knobs of DeepCluster-v2."""

import dataclasses

from tfclust.engine.config import BankedConfig, few_images_for_kmeans
from tfclust.engine.planning import multi_crop, rates
from tfclust.options import option


@dataclasses.dataclass(frozen=True)
class DeepClusterV2Config(BankedConfig):
    """Knobs of DeepCluster-v2; defaults are the paper's for ImageNet."""

    kmeans_iters: int = option(
        10,
        "Iterations of spherical k-means before each epoch.",
        source="main_deepclusterv2.py",
        lower=1,
    )

    def notices(self, facts):
        return few_images_for_kmeans(self, facts)

    @classmethod
    def plan(cls, facts):
        return {
            **super().plan(facts),
            "num_clusters": facts.heads(3, images_a_cluster=10),
            **multi_crop(facts, 2, 3),
            **rates(facts, 0.3, weight_decay=1e-4),
        }
