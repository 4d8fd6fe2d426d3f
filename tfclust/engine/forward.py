"""One forward pass over several views, by a method or its teacher."""

from typing import NamedTuple

import tensorflow as tf

from tfclust.backbones.dropout import views_in_pass
from tfclust.ops.units import unit_vectors


class Outputs(NamedTuple):
    """A forward pass; axis 0 is the view, global views first.

    features `[V, B, F]`; projections `[V, B, D]` as the projector returns them;
    units `[V, B, D]`, the same at unit length; scores, a tuple over heads (and
    branches, if a method has them) of `[V, B, K]`, before temperature. A method
    without clusters or a teacher has no scores.
    """

    features: tf.Tensor
    projections: tf.Tensor
    units: tf.Tensor
    scores: tuple = ()


def forward(backbone, projector, views, *, training, grouping):
    """Runs views through a network, once per size or view by view.

    Args:
      backbone: images `[b, S, S, 3]` to features `[b, F]`.
      projector: features to raw projections `[b, D]`.
      views: tuple over sizes of `[n, B, S, S, 3]` images in [0, 1].
      training: whether batch norm and dropout act as in training.
      grouping: "size", one backbone pass per size and one projector pass over
        all views; or "view", with separate batch statistics for each view.

    Returns:
      `Outputs`, without scores.
    """
    if grouping == "view":
        views = tuple(
            one for size in views for one in tf.split(size, size.shape[0])
        )
    features = [_features(backbone, images, training) for images in views]
    if grouping == "view":
        projections = [_project(projector, rows, training) for rows in features]
        projections = tf.concat(projections, axis=0)
        features = tf.concat(features, axis=0)  # [V, B, F]
    else:
        features = tf.concat(features, axis=0)  # [V, B, F]
        # One call over all views: the projector's BN sees every crop.
        projections = _project(projector, features, training)  # [V, B, D]
    return Outputs(features, projections, unit_vectors(projections))


def _features(backbone, images, training):
    count, batch, *image_shape = images.shape
    flat = tf.reshape(images, [-1, *image_shape])  # [n * B, S, S, 3]
    with views_in_pass(count):
        features = backbone(flat, training=training)
    features = tf.cast(features, tf.float32)
    return tf.reshape(features, [count, batch or -1, features.shape[-1]])


def _project(projector, features, training):
    count, batch, width = features.shape
    flat = tf.reshape(features, [-1, width])  # [n * B, F]
    rows = projector(flat, training=training)
    return tf.reshape(rows, [count, batch or -1, rows.shape[-1]])
