"""What methods with clusters share: K, scores, a clusterer, counts.

Their targets are assignments, soft or hard, of images to clusters.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tfclust.engine.config import ClusteringConfig
from tfclust.engine.inference import image_clusters
from tfclust.engine.method import Method
from tfclust.engine.monitor import ClusterMonitor
from tfclust.ops import partitions
from tfclust.runtime import replicas


class ClusteringMethod(Method):
    """Base of the clustering methods; the knob `num_clusters` may be an int."""

    Config: type[ClusteringConfig]
    labels: Any = None  # the `RowMemory` of methods that keep pseudo-labels

    # A method implements these, and `example_losses(outputs, assignments)`.

    def assign(self, outputs, index):
        """Assignments of the replica's rows, any nest of tensors."""
        raise NotImplementedError

    def score(self, projections, units):
        """Scores before temperature, a tuple over heads of `[V, B, K]`."""
        raise NotImplementedError

    def clusterer(self):
        """A tuple over heads of `ops.clusterer.Clusterer` on projections."""
        raise NotImplementedError

    # Hooks.

    def score_branches(self, projections, units, training):
        """The scores of `score`, followed by those of further branches.

        For CoKe's prediction head, whose batch norm needs to know `training`.
        """
        return self.score(projections, units)

    def take_labels(self, labels):
        """Labels from outside, int `[N, H]`; before the first step of a run.

        The only place where labels enter training; a resumed run has them in
        its state. For `fixed_labels`.
        """

    def uniform_loss(self):
        """The loss of uniform predictions, the unit of `loss_over_log_k`."""
        return float(np.mean(np.log(self.config.num_clusters)))

    def figures(self):
        """Sizes of the pseudo-labels' clusters, if the method keeps labels.

        DeepCluster adds the NMI of two epochs' pseudo-labels.
        """
        if self.labels is None:
            return {}
        rows = self.labels.rows.numpy()  # [N, H]
        return partitions.label_sizes(rows, self.config.num_clusters)

    # The shared machinery.

    def clusters(
        self, source, *, image_size=None, resize_size=None, batch_size=256
    ):
        """The cluster of each image, as the exported SavedModel gives it.

        An export computes in float32; the backbone of a run in half precision
        does not here, and an image between two clusters may fall elsewhere.

        Args:
          source: `tfclust.data.Source`, the images of the training or others.
          image_size: int, side of the centre crop; None for the views' own.
          resize_size: int, short side before the crop; None for the views'
            own, or what belongs to `image_size`.
          batch_size: int, images in memory at a time.

        Returns:
          `ImageClusters`: names, clusters, confidence; of the first head.

        Raises:
          ValueError: if the method has not been trained, or `source` is a
            stream.
        """
        return image_clusters(
            self,
            source,
            image_size=image_size,
            resize_size=resize_size,
            batch_size=batch_size,
        )

    def targets(self, outputs, index, images):
        return self.assign(outputs, index)

    def forward(self, views, training):
        outputs = super().forward(views, training)
        scores = self.score_branches(
            outputs.projections, outputs.units, training
        )
        return outputs._replace(scores=scores)

    def build_monitor(self, views):
        return ClusterMonitor(
            views.num_images,
            self.config.num_clusters,
            uniform_loss=self.uniform_loss(),
        )

    def watch(self, loss, outputs, index):
        super().watch(loss, outputs, index)
        self.monitor.count_clusters(self._nearest(outputs.scores), index)

    def _nearest(self, scores):
        """Cluster of the first view by raw score, `[B, H]` int32, all rows.

        Raw, because balanced codes always seem to fill all clusters.
        """
        heads_count = len(self.config.num_clusters)
        nearest = [
            tf.argmax(head[0], axis=-1, output_type=tf.int32)
            for head in scores[:heads_count]
        ]
        return replicas.all_gather(tf.stack(nearest, axis=-1))

    @property
    def last_assignments(self):
        """Nearest cluster of each image, int32 `[N, H]`, -1 if never seen."""
        return self.monitor.last_assignments()
