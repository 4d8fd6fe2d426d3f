"""Which layer of a backbone is which module of a published network.

Published names are torchvision's for ResNets (`layer1.0.conv1`). For AlexNet
and VGG16 they are those of facebookresearch/deepcluster `models/alexnet.py` and
`models/vgg16.py` at 1b56bec (`features.4`, `classifier.1`), which number a
convolution, its batch norm, the ReLU and the pooling one after the other.
"""

import re
from typing import NamedTuple

from tfclust.backbones import vgg
from tfclust.backbones.resnet import ARCHITECTURES

_BLOCK = re.compile(r"stage(\d)_block(\d+)_(conv(\d)|shortcut)(_bn)?")
_ALEXNET = {
    "stem_conv": "features.0",
    "stage1_conv": "features.4",
    "stage2_conv": "features.8",
    "stage3_conv": "features.11",
    "stage4_conv": "features.14",
    "stage5_fc6": "classifier.1",
    "stage6_fc7": "classifier.4",
}
_FULLY_CONNECTED = {"stage5_fc6": "classifier.0", "stage6_fc7": "classifier.3"}
# What an array is called, by the name of the Keras variable.
PARAMETERS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


class Source(NamedTuple):
    """Where a variable's array comes from: `layer1.0.bn1.weight` for gamma."""

    name: str
    parameter: str  # of `PARAMETERS`
    channels: int | None  # of the maps that a first dense layer flattens


def sources(backbone):
    """For each of `backbone.weights` its `Source`.

    Args:
      backbone: a functional `keras.Model`, as `build` gives it.

    Raises:
      ValueError: if it is a network that no published layout fits.
    """
    modules = _modules(backbone)
    found = []
    for variable in backbone.weights:
        layer, parameter = variable.path.split("/")[-2:]
        module = modules[layer]
        flat = layer == "stage5_fc6"
        found.append(
            Source(
                f"{module}.{PARAMETERS[parameter]}",
                parameter,
                _channels(backbone) if flat else None,
            )
        )
    return found


def is_resnet(backbone):
    """Whether a backbone is one of this library's ResNets."""
    return backbone.name in ARCHITECTURES and _is_ours(backbone)


def _modules(backbone):
    """`{layer: published module}` of all layers that have weights."""
    layers = [layer.name for layer in backbone.layers if layer.weights]
    if is_resnet(backbone):
        return {layer: _of_resnet(layer) for layer in layers}
    if backbone.name == "alexnet" and _is_ours(backbone):
        return _with_batch_norms(_ALEXNET)
    if backbone.name == "vgg16_bn" and _is_ours(backbone):
        return _with_batch_norms(_vgg())
    raise ValueError(
        "published weights fit the backbones resnet18, resnet34, resnet50, "
        f"alexnet and vgg16_bn. Received: backbone {backbone.name}, whose "
        "layers are others. Give one of these, or weights of this network in "
        "a .keras file"
    )


def _is_ours(backbone):
    """Networks of `keras.applications` may have the same name."""
    return any(layer.name.startswith("stem_conv") for layer in backbone.layers)


def _of_resnet(layer):
    match = _BLOCK.fullmatch(layer)
    if match is None:
        return "bn1" if layer.endswith("_bn") else "conv1"
    stage, block, part, number, norm = match.groups()
    prefix = f"layer{stage}.{int(block) - 1}"
    if part == "shortcut":
        return f"{prefix}.downsample.{1 if norm else 0}"
    return f"{prefix}.{'bn' if norm else 'conv'}{number}"


def _with_batch_norms(modules):
    """Adds each convolution's batch norm, which is the next module."""
    norms = {}
    for layer, module in modules.items():
        folder, number = module.split(".")
        if folder == "features":
            norms[f"{layer}_bn"] = f"{folder}.{int(number) + 1}"
    return {**modules, **norms}


def _vgg():
    """Three modules a convolution, and one a block for its pooling."""
    modules, place = {}, 0
    for stage, (depth, _) in enumerate(vgg.BLOCKS):
        prefix = f"stage{stage}" if stage else "stem"
        for index in range(1, depth + 1):
            modules[f"{prefix}_conv{index}"] = f"features.{place}"
            place += 3
        place += 1
    return {**modules, **_FULLY_CONNECTED}


def _channels(backbone):
    return backbone.get_layer("flat").input.shape[-1]
