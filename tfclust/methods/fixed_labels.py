"""Fixed labels: a classifier for labels that come from outside.

The only place where labels enter training. It serves the supervised baseline
and SeLa's label transfer: another network learns, from scratch, the final
labels of a finished run (Asano et al. 2020, arXiv:1911.05371, section 4), with
the prediction of rotations as an optional second task (SL+Rot, after Gidaris et
al. 2018, arXiv:1803.07728).

Follows yukimasano/self-label at 3891e37 in the loss: the label is predicted
from the upright copy only, the rotation from all four. Differs: images without
a label are left out, and any method's labels are accepted.
"""

import numpy as np
import tensorflow as tf

from tfclust.engine.clustering import ClusteringMethod
from tfclust.engine.losses import ExampleLosses
from tfclust.layers import projectors
from tfclust.layers.classifiers import Classifier
from tfclust.layers.memories import RowMemory
from tfclust.methods.configs.fixed_labels import FixedLabelsConfig
from tfclust.ops.clusterer import Clusterer
from tfclust.ops.cross_entropy import hard_label_losses
from tfclust.ops.rotations import NUM_TURNS, four_rotations


class FixedLabels(ClusteringMethod):
    """A linear classifier per head on the features, trained on given labels.

    From Python, labels are given by `take_labels` after `prepare`:

        method = FixedLabels(backbone, num_clusters=10)
        method.compile(optimizer=tfclust.optimizers.SGD(0.1))
        method.prepare(views)
        method.take_labels(labels)  # int [N] or [N, H], -1 for unknown
        method.fit(views, epochs=12)

    Raises:
      ValueError: if `num_clusters` is empty.
    """

    Config = FixedLabelsConfig
    unit_projections = False

    def __init__(self, backbone, config=None, **knobs):
        super().__init__(backbone, config, **knobs)
        if not self.config.num_clusters:
            raise ValueError(
                "num_clusters needs one value per head; only a recipe takes it "
                "from the labels. Received: none."
            )
        self.classifier = Classifier(
            self.projection_width,
            self.config.num_clusters,
            start=self.config.head_start,
        )
        if self.config.rotation:
            self.rotation_classifier = Classifier(
                self.projection_width, (NUM_TURNS,), name="rotation_classifier"
            )

    def build_memories(self, views):
        self.labels = RowMemory(
            views.num_images, len(self.config.num_clusters), name="labels"
        )

    def take_labels(self, labels):
        """Fills the label memory; `[N]` stands for one head.

        Raises:
          ValueError: if the shape is wrong, no image has a label, or a label is
            not below `num_clusters`.
        """
        labels = np.asarray(labels)
        labels = labels[:, None] if labels.ndim == 1 else labels
        _check_labels(labels, self.labels.rows.shape, self.config.num_clusters)
        self.labels.replace(np.maximum(labels, -1))

    def build_projector(self, features_width, synchronized):
        if self.config.projection_width:
            return super().build_projector(features_width, synchronized)
        return projectors.rectifier(features_width)

    def begin_epoch(self, epoch):
        if (self.labels.rows.numpy() < 0).all():
            raise ValueError(
                "fixed_labels trains on labels from outside. Received: none "
                f"for {self.views.num_images} images. Call "
                "method.take_labels(labels) after method.prepare(views)."
            )

    def transform_images(self, images):
        if not self.config.rotation:
            return images
        return tuple(four_rotations(size) for size in images)

    def score(self, projections, units):
        """Logits of each head's classes, then of the quarter turns."""
        logits = self.classifier(projections)
        if not self.config.rotation:
            return logits
        return logits + self.rotation_classifier(projections)

    def assign(self, outputs, index):
        """Given labels `[B, H]`, -1 if an image has none."""
        return self.labels.read(index)

    def example_losses(self, outputs, assignments):
        if not self.config.rotation:
            return ExampleLosses(
                *hard_label_losses(outputs.scores, assignments)
            )
        *logits, turn_logits = outputs.scores  # [4 * V, B, K], [4 * V, B, 4]
        turns = self._turns()
        upright = np.flatnonzero(turns == 0)
        logits = [tf.gather(head, upright) for head in logits]  # [V, B, K]
        return (
            ExampleLosses(*hard_label_losses(logits, assignments)),
            rotation_losses(turn_logits, turns),
        )

    def uniform_loss(self):
        turns = np.log(NUM_TURNS) if self.config.rotation else 0.0
        return super().uniform_loss() + float(turns)

    def clusterer(self):
        return tuple(
            Clusterer(
                head.kernel.numpy(), unit_rows=False, bias=head.bias.numpy()
            )
            for head in self.classifier.heads
        )

    def _turns(self):
        """Quarter turns of the views, in the order of `transform_images`."""
        counts = self.views.config.num_views  # of each size
        return np.concatenate(
            [np.repeat(np.arange(NUM_TURNS), count) for count in counts]
        )


def rotation_losses(logits, turns):
    """Cross-entropy of every copy with its quarter turn.

    Args:
      logits: `[V, B, 4]`.
      turns: int `[V]`, the quarter turns of each.

    Returns:
      `ExampleLosses` of `[B]`, means over the copies.
    """
    turns = tf.constant(turns, tf.int32)[:, None]  # [V, 1]
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.broadcast_to(turns, logits.shape[:2]), logits
    )
    loss = tf.reduce_mean(entropy, axis=0)
    return ExampleLosses(loss, tf.ones_like(loss))


def _check_labels(labels, shape, num_clusters):
    """Refuses labels `[N, H]` that do not fit the memory or the classifier."""
    if labels.shape != tuple(shape) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be integers of shape {tuple(shape)}: a row for each "
            "image, a column for each value of num_clusters. Received: type "
            f"{labels.dtype} and shape {labels.shape}."
        )
    for head, count in enumerate(num_clusters):
        highest = int(labels[:, head].max())
        if highest < 0:
            raise ValueError(
                "labels must name a class for some images. Received: none for "
                f"all {len(labels)} images in head {head}."
            )
        if highest >= count:
            raise ValueError(
                f"labels must be below num_clusters. Received: label {highest} "
                f"in head {head} with num_clusters={count}. Raise it to "
                f"{highest + 1}, or leave it out in a recipe."
            )
