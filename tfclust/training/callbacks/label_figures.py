"""Figures of a run that need labels; labels never reach training."""

import keras
import numpy as np

from tfclust.data import Sample, held_out
from tfclust.data.views import passes
from tfclust.engine.clustering import ClusteringMethod
from tfclust.evaluation import FeaturePass, online_knn
from tfclust.evaluation.rows import largest_class_share
from tfclust.ops import partitions


class LabelFigures(keras.callbacks.Callback):
    """AMI, NMI and ARI of clusters to labels, and online kNN; no training.

    If the method keeps pseudo-labels, also their own NMI, as DeepCluster plots
    it (arXiv:1807.05520, figure 2a): clusters are what the classifier predicts
    for an image, pseudo-labels what it is taught.

    Args:
      views: the run's `Views`, whose source has labels.
      test_source: labelled `Source` for kNN; None holds out every fifth
        image of the bank instead.
      num_images: int, images in the bank of kNN and in the test; 0 for no kNN.
      every_epochs: int, epochs between two kNN.
    """

    def __init__(self, views, test_source, *, num_images, every_epochs=1):
        super().__init__()
        self.labels = views.source.labels
        self.views, self.every_epochs = views, every_epochs
        self.knn_sources: tuple = ()
        if num_images:
            self.knn_sources = _bank_and_test(
                views.source, test_source, num_images
            )

    def set_model(self, model):
        super().set_model(model)
        # Traced once, and images decoded once: on few images, both would cost
        # more at each epoch than its steps.
        self.passes = [
            FeaturePass(
                lambda images: model.backbone(images, training=False),
                source,
                image_size=self.views.image_size,
                resize_size=self.views.resize_size,
                batch_size=self.views.batch_size,
                keep=fits(source.num_images, self.views.image_size),
            )
            for source in self.knn_sources
        ]

    def on_epoch_end(self, epoch, logs=None):
        if isinstance(self.model, ClusteringMethod):
            logs.update(self._of_clusters())
        due = (epoch + 1) % self.every_epochs == 0
        if self.passes and (due or logs["step"] == self.model.total_steps):
            logs["knn_accuracy"] = self._knn()
            logs["knn_chance"] = largest_class_share(self.knn_sources[1].labels)

    def _of_clusters(self):
        assignments = self.model.last_assignments  # [N, H]
        seen = assignments[:, 0] >= 0
        labels, found = self.labels[seen], {}
        for name in ("ami", "nmi", "ari"):
            figure = getattr(partitions, name)
            heads = [figure(labels, head) for head in assignments[seen].T]
            found[f"{name}_labels"] = float(np.mean(heads))
        if self.model.labels is not None:
            rows = self.model.labels.rows.numpy()
            found["pseudo_label_nmi"] = self._pseudo_label_nmi(rows)
        return found

    def _pseudo_label_nmi(self, rows):
        """Mean over heads of pseudo-labels `[N, H]`; NaN if there are none."""
        heads = []
        for head in rows.T:
            both = (head >= 0) & (self.labels >= 0)
            if both.any():
                heads.append(partitions.nmi(self.labels[both], head[both]))
        return float(np.mean(heads)) if heads else float("nan")

    def _knn(self):
        arrays: list = []
        for of in self.passes:
            arrays += [of.features(), of.source.labels]
        return float(online_knn(*arrays))


def fits(num_images, image_size):
    """Whether so many images of a kNN are kept from its first pass on."""
    return passes.num_bytes(num_images, image_size) <= passes.KEPT_BYTES


def _bank_and_test(source, test_source, num_images):
    """Labelled samples of at most `num_images`, evenly spaced."""
    rows = _spaced(source.num_images, num_images)
    if test_source is not None:
        asked = _spaced(test_source.num_images, num_images)
        return Sample(source, rows), Sample(test_source, asked)
    return held_out(source, rows)


def _spaced(count, wanted):
    return np.arange(min(count, wanted)) * count // min(count, wanted)
