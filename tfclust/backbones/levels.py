"""Where a backbone halves its resolution: feature maps and stages.

A level ends at the last tensor of its resolution on which everything deeper
depends: the output of the last block in a residual network, the expanded map
before the strided convolution in a network of inverted residuals.
"""

import re

from keras import layers

from tfclust.backbones import graph

_LEVELS = (2, 3, 4, 5)  # strides 4, 8, 16, 32
_STAGE_NAME = re.compile(r"stem_|stage(\d+)_")


def pyramid(backbone):
    """Feature maps by stride, for detectors and segmentation.

    Args:
      backbone: a functional `keras.Model`, as `build` and `adapt` give it.

    Returns:
      A dict `{"P2": [B, H/4, W/4, C], ..., "P5": [B, H/32, W/32, C]}` of
      symbolic tensors of `backbone`, those that exist: a network for small
      images ends earlier, and a map whose size is not an exact fraction of the
      image's (Inception pads less) does not count.
    """
    steps = graph.steps(backbone)
    strides = graph.strides(backbone, steps)
    found = {}
    for position in graph.cuts(steps):
        step, stride = steps[position], strides[position]
        if isinstance(step.operation, layers.ZeroPadding2D):
            continue
        for level in _LEVELS:
            if stride == 2**level:
                found[f"P{level}"] = step.output
    return found


def stages(backbone):
    """Weights by stage; stage 0 is the stem.

    The stages of small and the ResNets are the paper's. In any other network
    the stem is everything up to half the resolution, and each further halving
    starts a stage; layers after the last map belong to the last stage.

    Args:
      backbone: a functional `keras.Model`, as `build` and `adapt` give it.

    Returns:
      A tuple over stages of tuples of variables, which are together all of
      `backbone.weights`.
    """
    numbered = stage_numbers(backbone)
    found: list[list] = [
        [] for _ in range(1 + max(numbered.values(), default=0))
    ]
    seen = set()
    for layer, stage in numbered.items():
        for variable in layer.weights:
            if id(variable) not in seen:
                seen.add(id(variable))
                found[stage].append(variable)
    return tuple(tuple(variables) for variables in found)


def stage_numbers(backbone):
    """`{layer: stage}`, by the rule of `stages`; layers that have weights.

    In a network without the paper's names others may be among them.
    """
    return _stages_by_name(backbone) or _stages_by_resolution(backbone)


def _stages_by_name(backbone):
    numbered = {}
    for layer in backbone.layers:
        if layer.weights:
            match = _STAGE_NAME.match(layer.name)
            if match is None:
                return None
            numbered[layer] = int(match.group(1) or 0)
    return numbered


def _stages_by_resolution(backbone):
    steps = graph.steps(backbone)
    strides = graph.strides(backbone, steps)
    cuts = set(graph.cuts(steps))
    numbered: dict = {}
    stage = None
    for position in reversed(range(len(steps))):
        stride = strides[position]
        if position in cuts and stride is not None and stride < 64:
            stage = max(0, graph.octave(stride) - 1)
        numbered[steps[position].operation] = stage
    last = max((s for s in numbered.values() if s is not None), default=0)
    return {
        operation: last if stage is None else stage
        for operation, stage in reversed(numbered.items())
        if isinstance(operation, layers.Layer)
    }
