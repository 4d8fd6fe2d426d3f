"""DeepCluster-v2: k-means of last epoch's projections labels the next epoch
(Caron et al. 2020, arXiv:2006.09882, section 4 and A.4).

Follows facebookresearch/swav `main_deepclusterv2.py` at 06b1b7c. Differs in two
places: banks have a row for each image, so that an image keeps its place
whatever the order; prototypes are no layer with dropped gradients but computed
centroids that no optimizer sees.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from tfclust import heads
from tfclust.memory import ProjectionBank, RowMemory
from tfclust.methods.base import ExampleLosses, Method, MethodConfig
from tfclust.ops.clusterer import Clusterer
from tfclust.ops.cross_entropy import hard_label_losses
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
        source="SwAV, A.4",
        lower=1e-6,
    )
    kmeans_iters: int = option(
        10,
        "Iterations of spherical k-means before each epoch.",
        source="main_deepclusterv2.py",
        lower=1,
    )


class DeepClusterV2(Method):
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

    def build_memories(self, views):
        num_images, batch = views.num_images, views.batch_size
        seen = num_images // batch * batch
        if max(self.config.num_clusters) > seen:
            raise ValueError(
                f"{seen} images an epoch cannot fill "
                f"{max(self.config.num_clusters)} clusters. Lower num_clusters "
                f"to {seen} or fewer, or give more images."
            )
        self.labels = RowMemory(
            num_images, len(self.config.num_clusters), name="labels"
        )
        self.bank = ProjectionBank(
            num_images, views.num_global_views, self.projection_width
        )
        self.visited = self.bank.visited  # state is found on attributes

    def score(self, projections, units):
        return self.centroids(units)

    def reassign_due(self, step):
        return step % self.views.steps_per_epoch == 0

    def reassign(self, extract):
        """Clusters the banks of the images that the last epoch visited.

        Head h clusters the bank of global view h mod G: heads differ by view
        and by their random start.
        """
        epoch = int(self.epoch.numpy())
        if epoch == 0:
            self.bank.fill(extract("units", views="train", training=True))
        rows = self.bank.take_visited()
        labels = np.full(self.labels.rows.shape, -1, np.int32)
        for head, kernel in enumerate(self.centroids.kernels):
            result = spherical_kmeans(
                self.bank.of_view(rows, head),
                kernel.shape[-1],
                num_iters=self.config.kmeans_iters,
                seed=(self.views.seed, epoch, head),
                strategy=self.distribute_strategy,
            )
            kernel.assign(result.centroids.T)  # [K, D] -> [D, K]
            labels[rows, head] = result.pseudo_labels
        self.labels.replace(labels)

    def assign(self, outputs, index):
        """Pseudo-labels `[B, H]`, -1 where last epoch missed the image."""
        return self.labels.read(index)

    def example_losses(self, outputs, assignments):
        return ExampleLosses(
            *hard_label_losses(
                outputs.scores,
                assignments,
                temperature=self.config.temperature,
            )
        )

    def host_rows(self, outputs, assignments):
        units = outputs.units[: self.views.num_global_views]  # [G, B, D]
        return {"units": tf.transpose(units, [1, 0, 2])}

    def after_step_due(self, step):
        return True

    def after_step(self, rows):
        self.bank.write(rows["index"], rows["units"])

    def clusterer(self):
        return tuple(
            Clusterer(kernel.numpy()) for kernel in self.centroids.kernels
        )
