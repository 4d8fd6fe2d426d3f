"""DeepCluster-v2: k-means on the last epoch's projections labels the next epoch
(Caron et al. 2020, arXiv:2006.09882, appendix D).

Follows facebookresearch/swav `main_deepclusterv2.py` at 06b1b7c. Differs in two
places: banks have a row for each image, so that an image keeps its place
whatever the order; prototypes are computed centroids that no optimizer sees,
not a layer whose gradients are dropped.
"""

from tfclust.engine.banked import BankedMethod
from tfclust.methods.configs.deepcluster_v2 import DeepClusterV2Config
from tfclust.ops.clusterer import Clusterer
from tfclust.ops.kmeans import spherical_kmeans


class DeepClusterV2(BankedMethod):
    """DeepCluster-v2 as a Keras model."""

    Config = DeepClusterV2Config

    learns_prototypes = False

    def label(self, units, head):
        """Clusters the bank; the centroids become the head's prototypes.

        Heads differ by view and by their random start.
        """
        kernel = self.prototypes.kernels[head]
        result = spherical_kmeans(
            units,
            kernel.shape[-1],
            num_iters=self.config.kmeans_iters,
            seed=(self.views.seed, int(self.epoch.numpy()), head),
            strategy=self.distribute_strategy,
        )
        kernel.assign(result.centroids.T)  # [K, D] -> [D, K]
        return result.pseudo_labels

    def figures(self):
        """As of other methods, but clusters are numbered anew each epoch."""
        return {**super().figures(), "changed_share": None}

    def clusterer(self):
        return tuple(
            Clusterer(kernel.numpy()) for kernel in self.prototypes.kernels
        )
