"""DeepCluster: clusters of all images' features label the next epoch (Caron et
al. 2018, arXiv:1807.05520).

Follows facebookresearch/deepcluster `main.py` and `clustering.py`. Differs in
three places: the classifier keeps K classes and masks those without images, so
that shapes do not change; the clusters' centroids are kept, so that a trained
model can assign; HDBSCAN is a third choice beside k-means and power iterations.
"""

import keras
import numpy as np
import tensorflow as tf

from tfclust import optimizers
from tfclust.engine.clustering import ClusteringMethod
from tfclust.engine.losses import ExampleLosses
from tfclust.layers.classifiers import MaskedClassifier
from tfclust.layers.memories import HostMemory, RowMemory
from tfclust.methods.configs.deepcluster import DeepClusterConfig
from tfclust.ops import groups, partitions
from tfclust.ops.class_balance import balanced_order, inverse_frequencies
from tfclust.ops.clusterer import Clusterer
from tfclust.ops.filling import check_filling
from tfclust.ops.units import unit_rows
from tfclust.ops.whitening import fit_whitening, whiten


class DeepCluster(ClusteringMethod):
    """DeepCluster as a Keras model.

    The backbone's features are those before the last ReLU, if it has one
    (`backbone=alexnet`, `vgg16_bn`); the classifier applies it.
    """

    Config = DeepClusterConfig
    unit_projections = False
    unknown_as_nan = ("label_nmi",)  # until the second labels

    def __init__(self, backbone, config=None, **knobs):
        super().__init__(backbone, config, **knobs)
        self.classifier = MaskedClassifier(
            self.projection_width, *self.config.num_clusters, name="classifier"
        )

    def build_memories(self, views):
        (num_clusters,) = self.config.num_clusters
        _check_sizes(self.config, views.num_images, self.projection_width)
        width = self.config.pca_width or self.projection_width
        self.labels = RowMemory(views.num_images, 1, name="labels")
        self.class_weights = self.add_weight(
            shape=(num_clusters,),
            initializer="ones",
            trainable=False,
            aggregation="only_first_replica",
            name="class_weights",
        )
        self.label_nmi = keras.Variable(
            np.nan,
            dtype="float32",
            trainable=False,
            aggregation="only_first_replica",
            name="label_nmi",
        )
        self.centroids = HostMemory((num_clusters, width), np.float32)
        if self.config.pca_width:
            shape = (self.projection_width, width)
            self.mean = HostMemory(shape[:1], np.float32)
            self.components = HostMemory(shape, np.float32)

    def variable_rules(self):
        rule = optimizers.Rule(rate=self.config.classifier_rate, momentum=0.0)
        return {v.path: rule for v in self.classifier.trainable_variables}

    def score(self, projections, units):
        return (self.classifier(tf.nn.relu(projections)),)

    def reassign_due(self, step):
        epochs = self.config.reassign_epochs
        return step % (epochs * self.views.steps_per_epoch) == 0

    def reassign(self, extract):
        """Groups all images by their features; the classifier restarts."""
        seed = (self.views.seed, int(self.epoch.numpy()))
        rows = extract("projections", views="eval", training=False)  # [N, D]
        if self.config.pca_width:
            whitening = fit_whitening(rows, self.config.pca_width)
            self.mean.array[...] = whitening.mean
            self.components.array[...] = whitening.components
            rows = whiten(whitening, rows)  # [N, E]
        found = self._group(unit_rows(rows), seed)
        self._take_labels(found.pseudo_labels)
        self.centroids.array[...] = 0.0
        self.centroids.array[: len(found.centroids)] = found.centroids
        self.classifier.num_open.assign(len(found.centroids))
        self.reset(self.classifier.fresh(seed))

    def order(self, epoch):
        """Images of every cluster equally often; or None, for each once."""
        if self.config.balance != "sampling":
            return None
        labels = self.labels.rows.numpy()[:, 0]
        return balanced_order(labels, seed=(self.views.seed, epoch))

    def assign(self, outputs, index):
        """Pseudo-labels `[B]`, -1 for noise."""
        return self.labels.read(index)[:, 0]

    def example_losses(self, outputs, assignments):
        (scores,) = outputs.scores  # [V, B, K]
        labels = tf.maximum(assignments, 0)
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.broadcast_to(labels, scores.shape[:2]), scores
        )  # [V, B]
        labelled = tf.cast(assignments >= 0, tf.float32)
        weight = labelled * tf.gather(self.class_weights.value, labels)
        return ExampleLosses(tf.reduce_mean(entropy, axis=0), weight)

    def figures(self):
        """NMI of the last two pseudo-labels, as the paper logs it.

        How many images changed cluster is unknown, since clusters are numbered
        anew. Chance is that of the clusters that were found, not of those
        allowed.
        """
        labels = self.labels.rows.numpy()[:, 0]
        found = int(self.classifier.num_open.numpy())
        chance = np.log(max(2, found))
        return {
            **partitions.label_sizes(labels[:, None], (max(1, found),)),
            "loss_over_log_k": self.monitor.mean_loss() / float(chance),
            "changed_share": None,
            "nmi_previous": float(self.label_nmi.numpy()),
            "found_clusters": float(found),
            "unlabelled_share": float(np.mean(labels < 0)),
        }

    def clusterer(self):
        """The last clusters' centroids, and the PCA that comes before them."""
        centroids = self.centroids.array.T  # [E, K]
        # |x - c|^2 is least where x.c - |c|^2 / 2 is largest.
        bias = -0.5 * np.sum(centroids**2, axis=0)  # [K]
        bias[int(self.classifier.num_open.numpy()) :] = -np.inf
        if not self.config.pca_width:
            return (Clusterer(centroids, bias=bias),)
        mean, components = self.mean.array, self.components.array
        return (Clusterer(centroids, True, bias, mean, components),)

    def _group(self, rows, seed):
        """`Groups` of unit rows `[N, E]` by the chosen clustering."""
        (most,) = self.config.num_clusters
        if self.config.clustering == "kmeans":
            return groups.kmeans_groups(
                rows,
                most,
                num_iters=self.config.kmeans_iters,
                empty=self.config.empty_clusters,
                seed=seed,
                strategy=self.distribute_strategy,
            )
        if self.config.clustering == "pic":
            return groups.graph_groups(rows, most, seed=seed)
        size = self.config.min_cluster_size
        return groups.density_groups(rows, most, min_cluster_size=size)

    def _take_labels(self, labels):
        """Sets labels `[N]`, their agreement with the last ones, weights."""
        before = self.labels.rows.numpy()[:, 0]
        both = (before >= 0) & (labels >= 0)
        nmi = np.nan
        if both.any():
            nmi = partitions.nmi(before[both], labels[both])
        self.label_nmi.assign(nmi)
        self.labels.replace(labels[:, None])
        if self.config.balance == "weights":
            (num_clusters,) = self.config.num_clusters
            counts = np.bincount(labels[labels >= 0], minlength=num_clusters)
            self.class_weights.assign(inverse_frequencies(counts))


def _check_sizes(config, num_images, width):
    """Refuses what cannot be clustered, before anything is computed."""
    (num_clusters,) = config.num_clusters
    if config.clustering == "kmeans":
        check_filling(num_images, num_clusters)
    most = min(width, num_images - 1)
    if config.pca_width > most:
        raise ValueError(
            f"pca_width must be at most {most}: {num_images} images have "
            f"features of {width} values. Received: pca_width="
            f"{config.pca_width}. 0 leaves the features as they are."
        )
    if config.clustering == "hdbscan":
        groups.check_density(num_images, config.pca_width or width)
