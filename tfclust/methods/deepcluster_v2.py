"""DeepCluster-v2: k-means of last epoch's projections labels the next epoch
(Caron et al. 2020, arXiv:2006.09882, appendix D).

Follows facebookresearch/swav `main_deepclusterv2.py` at 06b1b7c. Differs in two
places: banks have a row for each image, so that an image keeps its place
whatever the order; prototypes are no layer with dropped gradients but computed
centroids that no optimizer sees.
"""

import dataclasses

from tfclust import heads
from tfclust.methods.banked import BankedMethod
from tfclust.methods.base import MethodConfig
from tfclust.ops.clusterer import Clusterer
from tfclust.ops.kmeans import spherical_kmeans
from tfclust.options import option


@dataclasses.dataclass(frozen=True)
class DeepClusterV2Config(MethodConfig):
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


class DeepClusterV2(BankedMethod):
    """DeepCluster-v2 as a Keras model."""

    Config = DeepClusterV2Config

    def __init__(self, backbone, config=None, **knobs):
        super().__init__(backbone, config, **knobs)
        self.centroids = heads.Prototypes(
            self.projection_width,
            self.config.num_clusters,
            learned=False,
            name="centroids",
        )

    def score(self, projections, units):
        return self.centroids(units)

    def label(self, units, head):
        """Clusters the bank; the centroids become the head's prototypes.

        Heads differ by view and by their random start.
        """
        kernel = self.centroids.kernels[head]
        result = spherical_kmeans(
            units,
            kernel.shape[-1],
            num_iters=self.config.kmeans_iters,
            seed=(self.views.seed, int(self.epoch.numpy()), head),
            strategy=self.distribute_strategy,
        )
        kernel.assign(result.centroids.T)  # [K, D] -> [D, K]
        return result.pseudo_labels

    def clusterer(self):
        return tuple(
            Clusterer(kernel.numpy()) for kernel in self.centroids.kernels
        )
