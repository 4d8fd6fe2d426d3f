"""Knobs of DeepCluster-v2."""

import dataclasses

from tfclust.engine.config import BankedConfig, few_images_for_kmeans
from tfclust.engine.planning import multi_crop, rates
from tfclust.options import option

# Fewer than faiss asks of k-means: in 40 epochs on 1,661 photos of hands, three
# heads of 42, 80 and 160 clusters reached 48, 69 and 76 % by 20-NN.
_IMAGES_A_CLUSTER, _ROOTS = 10, 4


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
        return few_images_for_kmeans(self, facts, _IMAGES_A_CLUSTER)

    @classmethod
    def plan(cls, facts):
        return {
            **super().plan(facts),
            "num_clusters": facts.heads(3, _IMAGES_A_CLUSTER, _ROOTS),
            **multi_crop(facts, 2, 3),
            **rates(
                facts,
                0.8,
                weight_decay=1e-4,
                why="of 1,661 photos of hands it learnt more than CIFAR's 0.3",
            ),
        }
