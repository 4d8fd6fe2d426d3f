"""From images to what a trained method says of them; nothing is learnt.

A SavedModel's signatures and `ClusteringMethod.clusters` are this.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust import data
from tfclust.ops import clusterer as clusterers
from tfclust.ops.units import unit_vectors


class ImageClusters(NamedTuple):
    """The cluster of each of N images.

    names: list of N str, as the source has them. clusters: int64 `[N]`.
    confidence: float32 `[N]`, the score of that cluster, a SavedModel's
    `cluster_score`: a cosine in most methods; larger means surer.
    """

    names: list
    clusters: np.ndarray
    confidence: np.ndarray


class Inference:
    """Images to `features`, `projections`, `cluster` and `cluster_score`.

    Without the last two if the method has no clusters.

    Args:
      method: has `projector` (`[B, F]` to raw `[B, D]`), `unit_projections`,
        and `clusterer()` if it has clusters. The first head gives the clusters.
      backbone: images to features, the method's or a copy of it.
    """

    def __init__(self, method, backbone):
        self.backbone = backbone
        self.projector = method.projector
        self.unit_projections = method.unit_projections
        self.clusterer = None
        if hasattr(method, "clusterer"):
            # Variables: constants would be in each signature's graph.
            self.clusterer = clusterers.Clusterer(
                *(_as_variable(part) for part in method.clusterer()[0])
            )

    def __call__(self, images):
        features = tf.cast(self.backbone(images, training=False), tf.float32)
        raw = self.projector(features, training=False)  # [B, D]
        raw = tf.cast(raw, tf.float32)
        projections = raw
        if self.unit_projections:
            projections = unit_vectors(raw)
        found = {
            "features": features,  # [B, F]
            "projections": projections,  # [B, D]
        }
        if self.clusterer is None:
            return found
        cluster, score = clusterers.assign(self.clusterer, raw)
        return {
            **found,
            "cluster": cluster,  # [B]
            "cluster_score": score,  # [B]
        }

    def variables(self):
        """The head's variables, without the backbone's."""
        head = [v.value for v in self.projector.variables]
        parts = self.clusterer or ()
        return head + [x for x in parts if isinstance(x, tf.Variable)]


def image_clusters(method, source, *, image_size, resize_size, batch_size):
    """`ImageClusters` of a source; see `ClusteringMethod.clusters`.

    Raises:
      TypeError: if `source` is no source of images.
      ValueError: if it is a stream, or the method has not been trained.
    """
    if not hasattr(source, "manifest"):
        raise TypeError(
            "clusters are found for a source of images. Received: "
            f"{type(source).__name__}. Write "
            "tfclust.data.open_source('/my/images') first."
        )
    if source.is_stream:
        raise ValueError(
            "clusters need images that can be told apart by their index, which "
            f"a stream does not have. Received: {source.uri}. Write tfrecord: "
            "instead of tfrecord_stream:."
        )
    if not int(method.step.numpy()):
        raise ValueError(
            f"{method.name} has no clusters before its training. Received: a "
            "method of 0 steps. Call method.fit first, or load a run with "
            "tfclust.training.pretraining.load_run."
        )
    infer = Inference(method, method.backbone)

    def assigned(images):
        found = infer(images)
        return found["cluster"], found["cluster_score"]

    views = method.views
    clusters, confidence = data.ImagePass(
        assigned,
        source,
        image_size=image_size or views.image_size,
        resize_size=resize_size or (None if image_size else views.resize_size),
        batch_size=batch_size,
    ).run()
    return ImageClusters(list(source.manifest().names), clusters, confidence)


def _as_variable(part):
    if part is None or isinstance(part, bool):
        return part
    value = tf.cast(tf.convert_to_tensor(part), tf.float32)
    return tf.Variable(value, trainable=False)
