"""The maps that a probe of a backbone's layers reads."""

import re

from keras import layers

from tfclust.backbones import graph
from tfclust.backbones.levels import pyramid

_STAGE = re.compile(r"(?:stem_|stage(\d+)_)")


def layer_maps(backbone):
    """Maps by their names in the papers' tables, in the order of depth.

    AlexNet and VGG: conv1 to conv5, after the last ReLU of each stage, before
    its pooling. The ResNets and small: stem, before its pooling, and stage1,
    stage2, ..., after their last block. Any other network: the maps of
    `pyramid`, P2 to P5.

    Args:
      backbone: a functional `keras.Model`, as `build` and `adapt` give it.

    Returns:
      dict of symbolic tensors `[B, h, w, C]` of `backbone`.
    """
    steps = graph.steps(backbone)
    found = {}
    for position in graph.cuts(steps):
        step = steps[position]
        match = _STAGE.match(step.operation.name)
        rectified = isinstance(step.operation, layers.ReLU)
        if match and rectified and len(step.output.shape) == 4:
            found[int(match.group(1) or 0)] = step.output  # the last counts
    if not found:
        return pyramid(backbone)
    blocks = any("_block" in layer.name for layer in backbone.layers)
    return {
        _name(stage, blocks): output for stage, output in sorted(found.items())
    }


def map_named(backbone, name):
    """One map: of `layer_maps`, "last" of them, or of the layer so named.

    Raises:
      ValueError: if there is none, with those there are.
    """
    maps = layer_maps(backbone)
    if name in maps:
        return maps[name]
    if name == "last" and maps:
        return list(maps.values())[-1]
    for step in graph.steps(backbone):
        if step.operation.name == name and len(step.output.shape) == 4:
            return step.output
    raise ValueError(
        "a layer must be one with maps [B, h, w, C]. Received: "
        f"{name} for backbone {backbone.name}, which has "
        f"{', '.join(maps) or 'none'}, or the name of one of its Keras layers."
    )


def _name(stage, blocks):
    if not blocks:
        return f"conv{stage + 1}"
    return f"stage{stage}" if stage else "stem"
