"""CoKe: clusters with a minimum size, found batch by batch; views predict the
cluster that their image had in the last epoch (Qian et al. 2022,
arXiv:2105.11527).

Follows idstcv/CoKe. Differs in three places: the step of the duals is given per
image, so that it holds at any batch size; an image that the last epoch left out
(in an incomplete batch) keeps its older label, and an image without a label
takes the one just computed, as all do in epoch 0; heads, branches and views
share one formula of the loss, of which the source's three scripts are cases.
"""

from typing import NamedTuple

import keras
import tensorflow as tf
from keras import layers

from tfclust.engine.clustering import ClusteringMethod
from tfclust.engine.losses import ExampleLosses
from tfclust.layers import dense, projectors
from tfclust.layers.memories import RowMemory, VoteMemory
from tfclust.layers.online_clusters import OnlineClusters
from tfclust.methods.configs.coke import CoKeConfig
from tfclust.ops.clusterer import Clusterer
from tfclust.ops.online_kmeans import soft_labels
from tfclust.ops.units import unit_vectors
from tfclust.ops.view_targets import mean_over_views, mixed_targets
from tfclust.runtime import replicas

_VOTES = 5  # labels that the second stage keeps for an image


class Labels(NamedTuple):
    """Assignments of B rows by H heads: this step's, and those for the loss."""

    current: tf.Tensor  # [B, H] int32
    clusters: tf.Tensor  # [B, H, J] int32
    shares: tf.Tensor  # [B, H, J] float32


class CoKe(ClusteringMethod):
    """CoKe as a Keras model: one view, two, or two and small crops."""

    Config = CoKeConfig
    view_grouping = "view"

    def __init__(self, backbone, config=None, **knobs):
        super().__init__(backbone, config, **knobs)
        width = self.projection_width
        if self.config.prediction_head:
            self.predictor = projectors.projector(
                width,
                hidden_width=self.config.hidden_width,
                projection_width=width,
                synchronized=self.synchronizes_batch_norm,
            )
        for head, count in enumerate(self.config.num_clusters):
            name = f"clusters_{head}"
            setattr(self, name, OnlineClusters(width, count, name=name))
        self.begun_epoch = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(-1),
            dtype="int64",
            trainable=False,
            name="begun_epoch",
        )

    @property
    def online_clusters(self):
        """The `OnlineClusters` in head order."""
        heads_count = range(len(self.config.num_clusters))
        return tuple(getattr(self, f"clusters_{h}") for h in heads_count)

    def build_projector(self, features_width, synchronized):
        return deep_projector(
            features_width,
            hidden_width=self.config.hidden_width,
            projection_width=self.config.projection_width,
            synchronized=synchronized,
        )

    def build_memories(self, views):
        self.large_views = views.num_global_views
        images, count = views.num_images, len(self.config.num_clusters)
        self.labels = RowMemory(images, count, name="labels")
        if self.config.second_stage_epoch is not None:
            self.votes = VoteMemory(images, count, _VOTES, name="votes")

    def begin_epoch(self, epoch):
        """Centroids updated in the last epoch become those of the loss."""
        ended = int(self.begun_epoch.numpy())
        if ended == epoch:
            return
        stage = self.config.second_stage_epoch
        averaged = 0 if stage is None else max(0, ended - stage + 1)
        for clusters in self.online_clusters:
            clusters.next_epoch(averaged)
        self.begun_epoch.assign(epoch)

    def score(self, projections, units):
        last = self.config.loss_centroids == "last"
        return tuple(
            tf.matmul(units, c.last.value if last else c.current.value)
            for c in self.online_clusters
        )

    def score_branches(self, projections, units, training):
        """The projector's scores by head, then the prediction head's."""
        scores = self.score(projections, units)
        if not self.config.prediction_head:
            return scores
        predictions = [  # each view with its own batch statistics
            self.predictor(rows, training=training)
            for rows in tf.unstack(projections)
        ]
        predictions = unit_vectors(tf.stack(predictions))  # [V, B, D]
        return scores + self.score(projections, predictions)

    def assign(self, outputs, index):
        """`Labels` of the replica's rows."""
        num_rows = outputs.units.shape[1]
        rows = replicas.all_gather(self._rows(outputs))  # [B, D]
        stage = self._second_stage()
        current = [c.assign(rows, stage) for c in self.online_clusters]
        current = tf.stack(current, axis=-1)  # [B, H]
        current = replicas.own_rows(current, num_rows)  # [B / R, H]
        return Labels(current, *self._in_loss(current, index))

    def example_losses(self, outputs, assignments):
        clusters, shares = assignments.clusters, assignments.shares
        losses = []
        for head, count in enumerate(self.config.num_clusters):
            label = soft_labels(clusters[:, head], shares[:, head], count)
            branches = outputs.scores[head :: len(self.online_clusters)]
            losses.append(self._head_loss(label, branches))
        loss = tf.add_n(losses) / len(losses)  # [B]
        return ExampleLosses(loss, tf.ones_like(loss))

    def update_memory(self, outputs, assignments, index):
        """Adds the batch to duals and centroids; labels are for next epoch."""
        rows = replicas.all_gather(self._rows(outputs))  # [B, D]
        labels = replicas.all_gather(assignments.current)  # [B, H]
        index = replicas.all_gather(index)
        for head, clusters in enumerate(self.online_clusters):
            clusters.update(
                rows,
                labels[:, head],
                averaged=self._second_stage(),
                dual_step=self.config.dual_step,
                min_share=self.config.min_share,
            )
        self.labels.write(index, labels)
        if self.config.second_stage_epoch is not None:
            past = self.epoch - self.config.second_stage_epoch
            self.votes.add(index, labels, past, when=self._second_stage())

    def clusterer(self):
        """As images are assigned: by the current centroids and the duals."""
        stage = bool(self._second_stage())
        return tuple(
            Clusterer(
                (c.last if stage else c.current).numpy(), bias=c.duals.numpy()
            )
            for c in self.online_clusters
        )

    def _head_loss(self, label, scores):
        """`[B]` from labels `[B, K]` and each branch's scores `[V, B, K]`."""
        projector, *prediction = (
            tf.nn.log_softmax(branch / self.config.temperature)
            for branch in scores
        )
        targets = mixed_targets(
            label,
            projector,  # whichever branch predicts
            num_large=self.large_views,
            label_weight=self.config.label_weight,
        )
        log_probs = projector
        if prediction:
            # Cross-entropy is linear in these: branches' weights go inside.
            weight = self.config.prediction_weight
            log_probs = (1.0 - weight) * projector + weight * prediction[0]
        return mean_over_views(
            -tf.reduce_sum(targets * log_probs, axis=-1),  # [V, B]
            num_large=self.large_views,
            small_weight=self.config.local_weight,
        )

    def _rows(self, outputs):
        """`[B, D]` to cluster: the mean over large views, not unit length."""
        return tf.reduce_mean(outputs.units[: self.large_views], axis=0)

    def _second_stage(self):
        """Scalar bool: whether this epoch is in the second stage's means."""
        stage = self.config.second_stage_epoch
        return tf.constant(False) if stage is None else self.epoch >= stage

    def _in_loss(self, current, index):
        """Clusters and shares `[B, H, J]` for the loss."""
        if self.config.loss_labels == "current":
            return current[..., None], tf.ones(current.shape)[..., None]
        last = self.labels.read(index)
        hard = tf.where(last >= 0, last, current)[..., None]  # [B, H, 1]
        if self.config.second_stage_epoch is None:
            return hard, tf.ones(hard.shape)
        return self.votes.read_or(hard, index)


def deep_projector(
    features_width, *, hidden_width, projection_width, synchronized=False
):
    """CoKe's three layers: linear, BN, ReLU, twice; then linear, BN.

    Args:
      features_width: int F, of the features and of the first layer.
      hidden_width: int, of the second layer.
      projection_width: int D.
      synchronized: whether BN statistics span all replicas.

    Returns:
      A functional `keras.Model` of built-in layers, `[B, F]` to raw `[B, D]`.

    Source:
      idstcv/CoKe; the last BN has scale and shift. Linear layers have a bias.
    """
    inputs = layers.Input(
        [features_width], dtype=dense.FLOAT32, name="features"
    )
    x, fan_in = inputs, features_width
    for name, width in (("first", features_width), ("second", hidden_width)):
        x = dense.linear(width, fan_in, name=name)(x)
        x = dense.batch_norm(synchronized, name=f"{name}_bn")(x)
        x = layers.ReLU(dtype=dense.FLOAT32, name=f"{name}_relu")(x)
        fan_in = width
    x = dense.linear(projection_width, fan_in, name="third")(x)
    x = dense.batch_norm(synchronized, name="projections")(x)
    return keras.Model(inputs, x, name="projector")
