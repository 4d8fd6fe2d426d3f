"""SeLa-v2: DeepCluster-v2's training with SeLa's labels (Caron et al. 2020,
arXiv:2006.09882, section 4 and A.4).

No code was released; this follows the paper's words. Prototypes are learned by
gradient, and once an epoch every image gets the label that Sinkhorn-Knopp over
the whole bank gives it. Differs from what SwAV does with a batch in that the
passes go on until every cluster has its share.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from tfclust import heads
from tfclust.memory import HostMemory, ProjectionBank, RowMemory
from tfclust.methods.base import ExampleLosses, Method, MethodConfig
from tfclust.ops import partitions
from tfclust.ops.clusterer import Clusterer
from tfclust.ops.cross_entropy import hard_label_losses
from tfclust.ops.transport import balanced_labels
from tfclust.options import option


@dataclasses.dataclass(frozen=True)
class SeLaV2Config(MethodConfig):
    """Knobs of SeLa-v2; defaults are the paper's for ImageNet."""

    num_clusters: tuple[int, ...] = option(
        (3000, 3000, 3000),
        "Clusters of each head.",
        source="SwAV, A.4",
        lower=2,
    )
    temperature: float = option(
        0.1,
        "Softmax temperature of predictions.",
        source="SwAV, A.4",
        lower=1e-6,
    )
    epsilon: float = option(
        0.05,
        "Entropy weight of the soft labels before they are rounded, in units "
        "of cosine; smaller is harder.",
        source="SwAV, A.1",
        lower=1e-3,
    )


class SeLaV2(Method):
    """SeLa-v2 as a Keras model."""

    Config = SeLaV2Config

    def __init__(self, backbone, config=None, **knobs):
        super().__init__(backbone, config, **knobs)
        counts = self.config.num_clusters
        self.prototypes = heads.Prototypes(
            self.projection_width, counts, learned=True
        )
        # One row a head; heads of fewer clusters leave the end at 0.
        self.log_r = HostMemory((len(counts), max(counts)), np.float64)

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
        return self.prototypes(units)

    def reassign_due(self, step):
        return step % self.views.steps_per_epoch == 0

    def reassign(self, extract):
        """Balances the banks of the images that the last epoch visited.

        Head h labels the bank of global view h mod G by its prototypes.
        """
        if int(self.epoch.numpy()) == 0:
            self.bank.fill(extract("units", views="train", training=True))
        rows = self.bank.take_visited()
        labels = np.full(self.labels.rows.shape, -1, np.int32)
        for head, kernel in enumerate(self.prototypes.kernels):
            result = balanced_labels(
                self.bank.of_view(rows, head),
                # p of the loss; its power makes it exp(cosine / epsilon).
                kernel.value / self.config.temperature,
                power=self.config.temperature / self.config.epsilon,
                initial_log_r=self._log_r(head),
                strategy=self.distribute_strategy,
            )
            self._log_r(head)[:] = result.log_r
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

    def figures(self):
        """Sizes of the labels' clusters, which are to be alike."""
        return partitions.label_sizes(
            self.labels.rows.numpy(), self.config.num_clusters
        )

    def clusterer(self):
        """argmax of cosine / epsilon + log r, all times epsilon."""
        return tuple(
            Clusterer(
                kernel.numpy(), bias=self.config.epsilon * self._log_r(head)
            )
            for head, kernel in enumerate(self.prototypes.kernels)
        )

    def _log_r(self, head):
        """`[K]`, a view of the head's row."""
        return self.log_r.array[head, : self.config.num_clusters[head]]
