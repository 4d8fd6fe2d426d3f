"""RetinaNet (Lin et al. 2017, arXiv:1708.02002) by KerasHub on our backbone.

KerasHub 0.32 is mended in one place: it draws all kernels of its heads from
N(0, 0.05) and puts the prior of the foreground on the head of the boxes; the
paper has N(0, 0.01), and the prior on the classes (4.1), without which the
first loss is a thousand times as large and backbones cannot be compared.
"""

import math
from typing import NamedTuple

import keras
import numpy as np

from tfclust.runtime.machine import PRECISIONS

_PRIOR = 0.01
_DEVIATION = 0.01
_DEEPEST = 5  # of a backbone; coarser levels are the pyramid's own


def require_keras_hub():
    """KerasHub, or a sentence that names the extra."""
    try:
        import keras_hub
    except ImportError as error:
        raise ValueError(
            "detection needs KerasHub: pip install "
            f'"tfclust[detection]". Received: {error}.'
        ) from error
    return keras_hub


def encoder_class():
    """The registered class of a backbone with a pyramid.

    A plain `keras.Model` with the attribute `pyramid_outputs` would be saved,
    and not be loaded again.
    """
    hub = require_keras_hub()
    name = "tfclust_detection>PyramidEncoder"
    known = keras.saving.get_registered_object(name)
    if known is not None:
        return known

    @keras.saving.register_keras_serializable("tfclust_detection")
    class PyramidEncoder(hub.models.FeaturePyramidBackbone):  # type: ignore
        """Feature maps of a network, by level.

        Args:
          network: functional `keras.Model` from images to a dict of maps
            `{"P2": ..., "P5": ...}`, those there are.
        """

        def __init__(self, network, **rest):
            maps = network.output
            super().__init__(inputs=network.inputs, outputs=maps, **rest)
            self.network = network
            self.pyramid_outputs = dict(maps)

        def get_config(self):
            config = {"name": self.name, "trainable": self.trainable}
            network = keras.saving.serialize_keras_object(self.network)
            return {**config, "network": network}

        @classmethod
        def from_config(cls, config):
            network = keras.saving.deserialize_keras_object(config["network"])
            return cls(**{**config, "network": network})

    return PyramidEncoder


class Detector(NamedTuple):
    """A detector, and where its anchors lie."""

    model: keras.Model  # KerasHub's; images [B, S, S, 3] to box and class maps
    anchors: np.ndarray  # float32 [A, 4]
    side: int  # S
    num_classes: int


def check_levels(graph, levels, side):
    """Refuses levels that the backbone does not have, with the way out.

    Args:
      graph: `saved_model.Graph`.
      levels: pair of int, the finest and the coarsest.
      side: int, the side of the canvas.
    """
    finest, coarsest = levels
    needed = range(finest, min(coarsest, _DEEPEST) + 1)
    missing = [f"P{n}" for n in needed if f"P{n}" not in graph.pyramid]
    there = [int(name[1:]) for name in graph.pyramid]
    # Above what the backbone has, KerasHub adds levels from P5 on alone, or
    # anywhere if all are below P5.
    if missing and coarsest < _DEEPEST and there and max(there) >= finest:
        missing = [n for n in missing if int(n[1:]) < max(there)]
    if missing:
        less = ""
        if len(there) > 1:
            less = (
                " For small objects alone, --levels="
                f"{min(there)},{min(max(there) + 1, 4)} does with what there "
                "is."
            )
        raise ValueError(
            f"levels={finest},{coarsest} need the maps "
            f"{', '.join(f'P{n}' for n in needed)} of the backbone (strides "
            f"{2**finest} to {2 ** needed[-1]}). Received: {graph.path}, whose "
            f"{graph.backbone.name} has {', '.join(graph.pyramid) or 'none'}. "
            "Train and export a backbone that halves its map more often, such "
            "as --backbone=resnet18 with --image_size=96 or larger (up to 64 "
            f"px, ResNets keep the full resolution longer).{less}"
        )
    unit = 2 ** min(coarsest, max(there))
    if side % unit:
        raise ValueError(
            f"image_size must be a multiple of {unit}, so that the maps of the "
            f"pyramid fit onto one another. Received: image_size={side}. Try "
            f"{max(unit, round(side / unit) * unit)}."
        )
    size = graph.backbone.input_shape[1]
    if size not in (None, side):
        raise ValueError(
            f"{graph.path} takes images of {size} px only. Received: "
            f"image_size={side}. Give {size}, or export a backbone that takes "
            "any size."
        )


def build(graph, num_classes, config, precision="none"):
    """A detector with new heads on a backbone.

    Args:
      graph: `saved_model.Graph`, loaded with the same precision.
      num_classes: int.
      config: has `image_size`, `levels`, `anchor_size`, `head_convolutions`,
        `seed`.
      precision: one of `runtime.machine.PRECISIONS`.

    Returns:
      `Detector`.

    Raises:
      ValueError: if the backbone lacks a level.
    """
    hub = require_keras_hub()
    side = config.image_size
    check_levels(graph, config.levels, side)
    finest, coarsest = config.levels
    maps = {
        name: x
        for name, x in graph.pyramid.items()
        if finest <= int(name[1:]) <= coarsest
    }
    network = keras.Model(graph.backbone.inputs, maps, name="network")
    policy = PRECISIONS[precision]
    backbone = hub.models.RetinaNetBackbone(
        encoder_class()(network, name="encoder"),
        min_level=finest,
        max_level=coarsest,
        use_p5=False,
        image_shape=(side, side, 3),
        dtype=policy,
    )
    anchors = hub.layers.AnchorGenerator(
        "xyxy",
        min_level=finest,
        max_level=coarsest,
        num_scales=3,
        aspect_ratios=[0.5, 1.0, 2.0],
        anchor_size=config.anchor_size,
    )
    model = hub.models.RetinaNetObjectDetector(
        backbone,
        num_classes,
        bounding_box_format="xyxy",
        anchor_generator=anchors,
        pre_logits_num_conv_layers=config.head_convolutions,
        dtype=policy,
    )
    _begin_as_published(model, config.seed)
    return Detector(model, anchors_of(model, side), side, num_classes)


def anchors_of(model, side):
    """float32 `[A, 4]` of a KerasHub detector, finest level first."""
    canvas = np.zeros([1, side, side, 3], np.float32)
    found = model.anchor_generator(canvas)
    return np.concatenate([np.asarray(x) for x in found.values()], axis=0)


def _begin_as_published(model, seed):
    rng = np.random.default_rng([seed, 0x6865])
    prior = -math.log((1 - _PRIOR) / _PRIOR)
    for head, bias in (
        (model.box_head, 0.0),
        (model.classification_head, prior),
    ):
        for layer in (*head.conv_layers, head.prediction_layer):
            shape = layer.kernel.shape
            layer.kernel.assign(rng.normal(0, _DEVIATION, shape))
            layer.bias.assign(np.zeros(layer.bias.shape))
        head.prediction_layer.bias.assign(
            np.full(head.prediction_layer.bias.shape, bias)
        )


def freeze_statistics(model):
    """Batch norms use the statistics that they have, and leave them alone."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
