"""Any Keras model as a backbone: images in [0, 1] in, features `[B, F]` out.

Keras's own networks disagree about their input: some rescale 0..255 inside,
some leave that to a `preprocess_input` of three kinds, as their published
weights require. `adapt` puts the missing step in front of the network.
"""

import keras
import numpy as np
from keras import layers

from tfclust.backbones import applications, graph

# The layers put in front of a network that does not take values in 0..1.
PREPROCESSING = ("none", "0..255", "-1..1", "imagenet", "bgr")
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_BGR_MEAN = (103.939, 116.779, 123.68)

# A first factor this small undoes 0..255, and a mean this large assumes it.
_SMALL_SCALE, _LARGE_MEAN = 1 / 32, 2.0
_KEEP_VALUES = (
    layers.InputLayer,
    layers.Identity,
    layers.ZeroPadding2D,
    layers.Resizing,
    layers.CenterCrop,
)


def adapt(
    model,
    *,
    sync_batch_norm=None,
    batch_norm_momentum=None,
    preprocessing=None,
):
    """`model` as a functional backbone that shares its weights.

    Images are scaled to what the network takes, a feature map is averaged over
    its positions, and features are float32 under any precision policy. A model
    that needs none of this is returned unchanged.

    Args:
      model: a `keras.Model` of one image input `[B, H, W, 3]` and one output,
        `[B, F]` or `[B, h, w, F]`.
      sync_batch_norm: True or False is set on every batch norm of `model`, in
        place; None leaves them unchanged.
      batch_norm_momentum: the same for the share of running statistics that a
        step keeps.
      preprocessing: what the network takes: "none" for 0..1; "0..255"; "-1..1";
        "imagenet" for mean and deviation; "bgr" for blue first and the mean
        subtracted; or a pair (scale, offset) of three numbers each. None
        infers it from the network: a leading `Rescaling` or
        `Normalization` means 0..255, the networks of `keras.applications` are
        known, and others take 0..1.

    Returns:
      A functional `keras.Model`, float32 `[B, H, W, 3]` in [0, 1] to float32
      `[B, F]`.

    Raises:
      TypeError: if `model` is not a `keras.Model`.
      ValueError: if its inputs or outputs are of another kind.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "backbone must be a keras.Model; build one by name with "
            f"tfclust.backbones.build. Received: backbone={model!r}."
        )
    given = isinstance(preprocessing, tuple)
    if not given and preprocessing not in (None, *PREPROCESSING):
        raise ValueError(
            f"preprocessing must be one of {', '.join(PREPROCESSING)}, or a "
            f"pair (scale, offset). Received: preprocessing={preprocessing}."
        )
    backbone = _functional(model)
    _check_input(backbone)
    backbone = _with_input(backbone, preprocessing or expected_input(backbone))
    backbone = _with_features(backbone)
    for layer in batch_norms(backbone):
        if sync_batch_norm is not None:
            layer.synchronized = sync_batch_norm
        if batch_norm_momentum is not None:
            layer.momentum = batch_norm_momentum
    return backbone


def expected_input(model):
    """The name in `PREPROCESSING` of what a functional `model` takes."""
    layer = _first_layer(model)
    if isinstance(layer, layers.Rescaling):
        bytes_wanted = np.max(np.abs(layer.scale)) <= _SMALL_SCALE
    elif isinstance(layer, layers.Normalization):
        bytes_wanted = _largest_mean(layer) >= _LARGE_MEAN
    elif isinstance(layer, layers.Conv2D):
        known = applications.preprocessing_of(model.name, layer.name)
        return known or "none"
    else:
        return "none"
    return "0..255" if bytes_wanted else "none"


def preprocessed(images, preprocessing):
    """`images` in [0, 1] as the network takes them, in float32."""
    if isinstance(preprocessing, tuple):
        return _affine(images, *preprocessing)
    if preprocessing == "0..255":
        return _affine(images, 255.0, 0.0)
    if preprocessing == "-1..1":
        return _affine(images, 2.0, -1.0)
    if preprocessing == "imagenet":
        std = np.array(_IMAGENET_STD)
        return _affine(images, 1 / std, -np.array(_IMAGENET_MEAN) / std)
    if preprocessing == "bgr":
        blue_first = keras.ops.flip(images, axis=-1)
        return _affine(blue_first, 255.0, -np.array(_BGR_MEAN))
    return images


def batch_norms(model):
    """Every batch norm layer of `model`, at any depth."""
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, layers.BatchNormalization)
    ]


def _affine(images, scale, offset):
    return layers.Rescaling(
        np.asarray(scale).tolist(),
        np.asarray(offset).tolist(),
        dtype="float32",
        name="network_range",
    )(images)


def _functional(model):
    """`model` itself if it is a graph, else a graph made of it."""
    if hasattr(model, "operations"):
        return model
    shape = [None, None, 3]
    try:
        if isinstance(model, keras.Sequential):
            if not model.built:
                model.build([None, *shape])
            return keras.Model(model.inputs, model.outputs[0], name=model.name)
        images = layers.Input(shape, dtype="float32", name="images")
        return keras.Model(images, model(images), name=model.name)
    except Exception as error:
        raise ValueError(
            "backbone must take RGB images [B, H, W, 3] of any size, or start "
            f"with keras.Input(shape) of a fixed size. Received: "
            f"backbone={model.name}, which fails with: {error}"
        ) from error


def _check_input(model):
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][-1] != 3:
        raise ValueError(
            "backbone must take one batch of RGB images [B, H, W, 3]. "
            f"Received: backbone={model.name} with inputs {shapes}. Put a "
            "layer before it that makes its inputs from RGB images."
        )


def _with_input(model, preprocessing):
    if preprocessing == "none" and isinstance(model.input, keras.KerasTensor):
        return model
    images = layers.Input(model.inputs[0].shape[1:], name="images")
    inputs = keras.tree.pack_sequence_as(
        model.input, [preprocessed(images, preprocessing)]
    )
    return keras.Model(images, graph.replayed(model, inputs), name=model.name)


def _with_features(model):
    outputs = keras.tree.flatten(model.output)
    shapes = [tuple(tensor.shape) for tensor in outputs]
    usual = len(shapes) == 1 and len(shapes[0]) in (2, 4) and shapes[0][-1]
    if not usual or _classifies(outputs[0]):
        raise ValueError(
            "backbone must end in features [B, F] or a feature map "
            f"[B, h, w, F]. Received: backbone={model.name} with outputs "
            f"{shapes}. Leave its classifier off (include_top=False) or give "
            "keras.Model(model.input, <the layer>.output)."
        )
    x = outputs[0]
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D(dtype="float32", name="features")(x)
    elif x.dtype != "float32":
        x = layers.Identity(dtype="float32", name="features")(x)
    elif model.output is x:
        return model
    return keras.Model(model.inputs[0], x, name=model.name)


def _classifies(tensor):
    layer = tensor._keras_history.operation
    activation = getattr(layer, "activation", None)
    return activation is keras.activations.softmax


def _largest_mean(normalization):
    mean = normalization.input_mean
    if mean is None:
        mean = keras.ops.convert_to_numpy(normalization.adapt_mean)
    return np.max(np.abs(mean))


def _first_layer(model):
    """The first layer that changes values, inside nested models too."""
    for step in graph.steps(model):
        operation = step.operation
        if isinstance(operation, keras.Sequential):
            return _first_layer(_functional(operation))
        if hasattr(operation, "operations"):
            return _first_layer(operation)
        if not isinstance(operation, _KEEP_VALUES):
            return operation
    return None
