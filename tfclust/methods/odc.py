"""ODC: labels that change a batch at a time, without passes between epochs
(Zhan et al. 2020, arXiv:2006.10645).

Follows OpenSelfSup's `odc.py`, `odc_memory.py` and `odc_hook.py`. Differs in
four places: sums and counts of clusters are updated with each change, so that
refreshing the centroids reads no features; 2-means is in NumPy, the same bit
for bit in every run; if a part would itself be too small, the cluster is cut
into random halves (`smallest_part=1` is as published); dropout is keyed by step
and row.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfclust import optimizers
from tfclust.engine.clustering import ClusteringMethod
from tfclust.engine.losses import ExampleLosses
from tfclust.layers import dense
from tfclust.layers.dropout import KeyedDropout
from tfclust.layers.memories import HostMemory, RowMemory
from tfclust.methods.configs.odc import ODCConfig
from tfclust.ops import cluster_memory
from tfclust.ops.clusterer import Clusterer
from tfclust.ops.kmeans import kmeans

_SMALL_SHARE = 20 / 128  # min_cluster over N / K at ImageNet


class ODC(ClusteringMethod):
    """ODC as a Keras model."""

    Config = ODCConfig

    def __init__(self, backbone, config=None, **knobs):
        super().__init__(backbone, config, **knobs)
        (count,) = self.config.num_clusters
        self.classifier = dense.normal_linear(
            count, self.projection_width, name="classifier"
        )
        self.classifier.build([None, self.projection_width])
        self.class_weights = self.add_weight(
            shape=(count,),
            initializer="ones",
            trainable=False,
            aggregation="only_first_replica",
            name="class_weights",
        )

    def build_projector(self, features_width, synchronized):
        return dropout_projector(
            features_width,
            hidden_width=self.config.hidden_width,
            projection_width=self.config.projection_width,
            dropout=self.config.dropout,
            bn_momentum=self.config.bn_momentum,
            key=lambda: (self.views.seed, self.step, self.views.batch_size),
            synchronized=synchronized,
        )

    def build_memories(self, views):
        num_images, width = views.num_images, self.projection_width
        (count,) = self.config.num_clusters
        self.min_cluster = _min_cluster(self.config, num_images)
        self.labels = RowMemory(num_images, 1, name="labels")
        self.samples = HostMemory((num_images, width), np.float32)
        self.host_labels = HostMemory((num_images,), np.int32)
        self.centroids = HostMemory((count, width), np.float32)
        self.sums = HostMemory((count, width), np.float64)
        self.counts = HostMemory((count,), np.int64)

    @property
    def memory(self):
        """The memories as `ops.cluster_memory.Clusters`."""
        return cluster_memory.Clusters(
            self.samples.array,
            self.host_labels.array,
            self.centroids.array,
            self.sums.array,
            self.counts.array,
        )

    def variable_rules(self):
        rule = optimizers.Rule(momentum=0.0)
        return {v.path: rule for v in self.classifier.trainable_variables}

    def score(self, projections, units):
        return (self.classifier(projections),)

    def order(self, epoch):
        """Images drawn with replacement, as the source's sampler does."""
        generator = np.random.default_rng((self.views.seed, epoch))
        num_images = self.views.num_images
        return generator.integers(num_images, size=num_images)

    def reassign_due(self, step):
        return step == 0

    def reassign(self, extract):
        """The first labels: k-means of the untrained network's projections."""
        self.samples.array[...] = extract("units", views="eval")
        (count,) = self.config.num_clusters
        found = kmeans(
            self.samples.array,
            count,
            num_iters=self.config.kmeans_iters,
            seed=(self.views.seed, 0),
            empty="split",
            strategy=self.distribute_strategy,
        )
        cluster_memory.relabel_all(self.memory, found.pseudo_labels)
        # The last assignment may leave a cluster empty again.
        cluster_memory.remove_small(self.memory, 1)
        self.labels.replace(self.host_labels.array[:, None])
        self._weigh_classes()

    def assign(self, outputs, index):
        """Pseudo-labels `[B]` as they were before this step."""
        return self.labels.read(index)[:, 0]

    def example_losses(self, outputs, assignments):
        (scores,) = outputs.scores
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.broadcast_to(assignments, scores.shape[:2]), scores
        )  # [V, B]
        weight = tf.gather(self.class_weights.value, assignments)
        return ExampleLosses(tf.reduce_mean(entropy, axis=0), weight)  # [B]

    def host_rows(self, outputs, assignments):
        return {"units": outputs.units[0]}

    def after_step_due(self, step):
        return True

    def after_step(self, rows):
        """Memories: features and labels, centroids, then small clusters."""
        done = int(self.step.numpy())
        clusters = self.memory
        written = cluster_memory.update_rows(
            clusters, rows["index"], rows["units"], self.config.memory_weight
        )
        if done % self.config.centroid_steps == 0:
            cluster_memory.refresh_centroids(clusters)
        moved = cluster_memory.remove_small(
            clusters,
            self.min_cluster,
            smallest_part=self.config.smallest_part or self.min_cluster,
            seed=(self.views.seed, done),
        )
        changed = np.union1d(written, moved)
        self.labels.write_from_host(changed, clusters.labels[changed, None])
        self._weigh_classes()

    def clusterer(self):
        return (Clusterer(self.centroids.array.T),)

    def _weigh_classes(self):
        """Sets class weights n^-1/2 that sum to 1, for the next step's loss."""
        weights = (self.counts.array + 1e-5) ** -0.5
        self.class_weights.assign(np.float32(weights / weights.sum()))


def dropout_projector(
    features_width,
    *,
    hidden_width,
    projection_width,
    dropout,
    bn_momentum,
    key,
    synchronized=False,
):
    """The projector of ODC: linear, BN, ReLU, dropout, linear, ReLU.

    Args:
      features_width: int F. hidden_width: int. projection_width: int D.
      dropout: float in [0, 1), share of hidden values that are dropped.
      bn_momentum: float, share of the old running statistics that is kept.
      key: as in `KeyedDropout`.
      synchronized: whether BN statistics span all replicas.

    Returns:
      A functional `keras.Model`, `[B, F]` to `[B, D]` without negative values.

    Source:
      ODC, arXiv:2006.10645; OpenSelfSup `NonLinearNeckV0`. BN has neither
      scale nor offset. Weights start He-normal by fan-in, biases at 0
      (`odc.py`, `init_linear="kaiming"`).
    """
    inputs = layers.Input(
        [features_width], dtype=dense.FLOAT32, name="features"
    )
    x = _he_linear(hidden_width, name="hidden")(inputs)
    x = layers.BatchNormalization(
        momentum=bn_momentum,
        epsilon=1e-5,
        center=False,
        scale=False,
        synchronized=synchronized,
        dtype=dense.FLOAT32,
        name="hidden_bn",
    )(x)
    x = layers.ReLU(dtype=dense.FLOAT32, name="hidden_relu")(x)
    x = KeyedDropout(dropout, key, name="hidden_dropout")(x)
    x = _he_linear(projection_width, name="projections")(x)
    x = layers.ReLU(dtype=dense.FLOAT32, name="projections_relu")(x)
    return keras.Model(inputs, x, name="projector")


def _he_linear(units, *, name):
    """A Dense layer from N(0, 2 / fan-in), not truncated, with biases of 0."""
    return layers.Dense(
        units,
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, mode="fan_in", distribution="untruncated_normal"
        ),
        dtype=dense.FLOAT32,
        name=name,
    )


def _min_cluster(config, num_images):
    """The size below which a cluster is small, checked against N and K.

    Raises:
      ValueError: if the largest cluster might be too small to halve.
    """
    (count,) = config.num_clusters
    limit = config.min_cluster
    if limit is None:
        limit = max(1, round(_SMALL_SHARE * num_images / count))
    needed = max(limit, config.smallest_part or 1)
    if 2 * needed * count <= num_images:
        return limit
    per_cluster = num_images / count
    limiting = "min_cluster" if needed == limit else "smallest_part"
    raise ValueError(
        "clusters need 2 * min_cluster images on average (and twice "
        "smallest_part), or most are small and dissolved at every step. "
        f"Received: {num_images} images for {count} clusters, "
        f"{per_cluster:.1f} each, min_cluster={limit}, "
        f"smallest_part={config.smallest_part}. Lower num_clusters to "
        f"{max(2, num_images // (2 * needed))} or fewer, or {limiting} to "
        f"{max(1, int(_SMALL_SHARE * per_cluster))}."
    )
