"""The backbone beside a SavedModel as a Keras graph, for consumers that need
one: detectors and segmentation want symbolic inputs and feature maps."""

import pathlib
from typing import NamedTuple

import keras

from tfclust import backbones
from tfclust.backbones.copying import copy_of
from tfclust.runtime.machine import PRECISIONS
from tfclust.saved_model.damage import telling_damage
from tfclust.saved_model.versions import BACKBONE_FILE, newest_version

_WAY_OUT = "Write it again with tfclust.export, or give another version."


class Graph(NamedTuple):
    """A backbone with symbolic inputs, and its feature maps by stride."""

    path: pathlib.Path  # of the SavedModel
    backbone: keras.Model  # images [B, H, W, 3] in [0, 1] to features [B, F]
    pyramid: dict  # {"P2": [B, H/4, W/4, C], ...}, symbolic; those there are


def load_graph(
    path, *, frozen_stages=0, precision="none", random_weights=False
):
    """The backbone of a SavedModel that `save` wrote, as a Keras graph.

    Args:
      path: a version, or the folder of versions, for the newest.
      frozen_stages: int, stages that are not trained; 1 is the stem.
      precision: one of `runtime.machine.PRECISIONS`, in which it computes.
      random_weights: whether to draw new weights for the same network, as a
        yardstick. What normalises the images is kept.

    Returns:
      `Graph`.

    Raises:
      FileNotFoundError: if there is no SavedModel.
      ValueError: if the backbone's file is missing or damaged, or it has fewer
        stages.
    """
    path = newest_version(path)
    saved = _loaded(path)
    fixed = {
        layer.name
        for layer in saved.layers
        if isinstance(layer, keras.layers.Normalization)
    }

    def copied(layer):
        config = layer.get_config()
        if "dtype" in config:  # operations of keras.ops have none
            config["dtype"] = PRECISIONS[precision]
        return type(layer).from_config(config)

    needs = "the backbone's layers must be described by their get_config."
    backbone = copy_of(saved, copied, needs)
    if random_weights:
        backbone = _random(backbone, fixed)
    if frozen_stages:
        backbones.freeze(backbone, frozen_stages)
    return Graph(path, backbone, backbones.pyramid(backbone))


def _random(backbone, fixed):
    """The same network, drawn anew; layers called `fixed` keep their values."""
    fresh = keras.models.clone_model(
        backbone, clone_function=lambda x: type(x).from_config(x.get_config())
    )
    for layer in fresh.layers:
        if layer.name in fixed:
            values = backbone.get_layer(layer.name).get_weights()
            layer.set_weights(values)
    return fresh


def _loaded(path):
    file = path / BACKBONE_FILE
    if not file.is_file():
        raise ValueError(
            f"saved_model={path} must have {BACKBONE_FILE}, the backbone as a "
            f"Keras graph. Received: none. {_WAY_OUT}"
        )
    with telling_damage(str(file), _WAY_OUT):
        # Only layers of Keras: no code comes with it.
        return keras.models.load_model(file, compile=False, safe_mode=True)
