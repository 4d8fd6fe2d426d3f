"""The functions and variables that a SavedModel keeps, traced.

Follows the reusable SavedModel interface of TF-Hub (`__call__`, `variables`,
`trainable_variables`, `regularization_losses`), so that it can be fine-tuned.
"""

import keras
import tensorflow as tf

from tfclust import backbones
from tfclust.backbones.copying import copy_of
from tfclust.engine.inference import Inference
from tfclust.saved_model import frozen as folding
from tfclust.saved_model.decoding import OK, decode


class Served(tf.Module):
    """Holds what the SavedModel keeps: variables and traced functions.

    Keras objects stay in the functions' closures. Plain attributes replace the
    properties of `tf.Module`, which a SavedModel would not keep.
    """

    variables: list = []
    trainable_variables: list = []


def single_device_copy(backbone):
    """A copy of a backbone in float32, trainable, whose batch norms do not
    synchronise.

    Synchronised statistics would put a collective, and a gradient that cannot
    be saved, into a model that others fine-tune on one device. Half precision
    is how a run trains fast; a server's processor may compute it far slower.
    What the run has frozen is its own affair.

    Raises:
      ValueError: if a layer cannot be rebuilt from its configuration.
    """

    def copied(layer):
        config = layer.get_config()
        if "dtype" in config:  # operations of keras.ops have none
            config["dtype"] = "float32"
        if isinstance(layer, keras.layers.BatchNormalization):
            config["synchronized"] = False
        return type(layer).from_config(config)

    copy = copy_of(
        backbone,
        copied,
        "the backbone's layers must be described by their get_config, so that "
        "it can be saved.",
    )
    # Each by itself: a model that is trainable already would pass nothing on.
    for layer in copy._flatten_layers():
        layer.trainable = True
    return copy


def served(
    method,
    backbone,
    image_size,
    resize_size,
    max_pixels,
    *,
    cluster_names=None,
    frozen=False,
):
    """What is saved of a method.

    Args:
      method: as in `saved_model.save`.
      backbone: `single_device_copy` of the method's.
      image_size: int, side of the centre crop.
      resize_size: int, the short side before it.
      max_pixels: int, of an encoded image.
      cluster_names: `{cluster: name}`; None for none.
      frozen: whether variables become constants; then nothing is trainable.

    Returns:
      A `Served` module, and its signatures by name.
    """
    inference = infer = Inference(method, backbone)
    if frozen:
        inference.clusterer = folding.freeze_clusterer(inference.clusterer)
        weights = [*backbone.variables, *method.projector.variables]
        infer = folding.frozen(inference, weights)
    image_spec = tf.TensorSpec(
        [None, *backbone.input_shape[1:]], tf.float32, name="images"
    )
    encoded = tf.TensorSpec([None], tf.string, name="image_bytes")

    def call(images, training=False):
        if frozen:
            return infer(images)["features"]
        return tf.cast(backbone(images, training=training), tf.float32)

    def from_bytes(image_bytes):
        decoded = decode(image_bytes, image_size, resize_size, max_pixels)
        good = decoded.status == OK
        found = infer(decoded.images)
        if cluster_names:
            # In this signature alone: converters know no strings.
            names = _names_of(cluster_names, inference.clusterer)
            named = tf.gather(names, found["cluster"])
            found["cluster_name"] = tf.where(good, named, "")
        found = {name: _where(good, x) for name, x in found.items()}
        return {**found, "status": decoded.status}

    def from_images(images):
        return infer(_whole(images, image_spec))

    module = Served(name="tfclust")
    kept = [] if frozen else backbone.variables
    module.variables = [v.value for v in kept]
    module.trainable_variables = [v.value for v in kept if v.trainable]
    module.head_variables = [] if frozen else inference.variables()
    module.regularization_losses = (
        [] if frozen else _regularization_losses(backbone)
    )
    module.__call__ = tf.function(call, autograph=False)
    for training in (False,) if frozen else (False, True):
        module.__call__.get_concrete_function(image_spec, training=training)
    signatures = {
        "serving_default": _signature(from_bytes, encoded),
        "images": _signature(from_images, image_spec),
    }
    stages = backbones.pyramid(backbone)
    if stages:
        signatures["pyramid"] = _pyramid(backbone, stages, image_spec, frozen)
    return module, signatures


def _where(good, rows):
    """`rows` `[B]` or `[B, ·]` where `good` `[B]`; else NaN, or -1
    (integers)."""
    if rows.dtype == tf.string:
        return rows
    none = float("nan") if rows.dtype.is_floating else -1
    good = good[:, None] if rows.shape.rank == 2 else good
    return tf.where(good, rows, tf.cast(none, rows.dtype))


def _names_of(cluster_names, clusterer):
    """The names of all clusters, `[K]`, empty where there is none."""
    count = clusterer.centroids.shape[-1]
    return tf.constant([cluster_names.get(k, "") for k in range(count)])


def _whole(images, spec):
    """`images`, whose shape a server does not compare with the signature's.

    Without it, another number of axes ends the server's process: a convolution
    of oneDNN checks that it has four and aborts.
    """
    return tf.ensure_shape(images, spec.shape)


def _pyramid(backbone, stages, spec, frozen):
    model = keras.Model(backbone.inputs, stages)

    def stages_of(images):
        return model(images, training=False)

    if frozen:
        stages_of = folding.frozen(stages_of, model.variables)

    def from_images(images):
        maps = stages_of(_whole(images, spec))
        return {name: tf.cast(x, tf.float32) for name, x in maps.items()}

    return _signature(from_images, spec)


def _signature(function, *specs):
    return tf.function(function, input_signature=specs, autograph=False)


def _regularization_losses(backbone):
    """A function without arguments for each variable that has a regularizer."""

    def loss_of(variable):
        return _signature(lambda: variable.regularizer(variable))

    return [
        loss_of(variable)
        for variable in backbone.trainable_variables
        if variable.regularizer is not None
    ]
