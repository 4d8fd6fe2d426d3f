"""What DeepCluster-v2 and SeLa-v2 share: labels from a bank of projections.

Each step writes the projections of its global views into a bank with a row for
each image. Before each epoch, the last epoch's bank is labelled, head by head,
by the method's `label` (Caron et al. 2020, arXiv:2006.09882, section 4).
"""

import numpy as np
import tensorflow as tf

from tfclust.engine.clustering import ClusteringMethod
from tfclust.engine.losses import ExampleLosses
from tfclust.layers.memories import ProjectionBank, RowMemory
from tfclust.layers.prototypes import Prototypes
from tfclust.ops.cross_entropy import hard_label_losses
from tfclust.ops.filling import check_filling


class BankedMethod(ClusteringMethod):
    """A method whose `Config` has a `temperature`, and whose labels live an
    epoch."""

    labels_from_memory = True
    # Whether the loss moves prototypes; else `label` computes them.
    learns_prototypes = True

    def __init__(self, backbone, config=None, **knobs):
        super().__init__(backbone, config, **knobs)
        self.prototypes = Prototypes(
            self.projection_width,
            self.config.num_clusters,
            learned=self.learns_prototypes,
        )

    def score(self, projections, units):
        return self.prototypes(units)

    def label(self, units, head):
        """Pseudo-labels `[n]` for a head from its bank's rows `[n, D]`."""
        raise NotImplementedError

    def build_memories(self, views):
        num_images, batch = views.num_images, views.batch_size
        seen = num_images // batch * batch
        check_filling(seen, max(self.config.num_clusters), seen="an epoch")
        self.labels = RowMemory(
            num_images, len(self.config.num_clusters), name="labels"
        )
        self.bank = ProjectionBank(
            num_images, views.num_global_views, self.projection_width
        )

    def reassign_due(self, step):
        return step % self.views.steps_per_epoch == 0

    def reassign(self, extract):
        """Labels the images that the last epoch visited; -1 for the others.

        Head h looks at the bank of global view h mod G. Before the first epoch
        one pass through the untrained network fills the bank.
        """
        if int(self.epoch.numpy()) == 0:
            self.bank.fill(extract("units", views="train", training=True))
        rows = self.bank.take_visited()
        labels = np.full(self.labels.rows.shape, -1, np.int32)
        for head in range(len(self.config.num_clusters)):
            units = self.bank.of_view(rows, head)  # [n, D]
            labels[rows, head] = self.label(units, head)
        self.labels.replace(labels)

    def assign(self, outputs, index):
        """Pseudo-labels `[B, H]`, -1 if the last epoch left out the image."""
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
