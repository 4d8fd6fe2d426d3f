"""Checkpoints that look fit and are not, refused by name."""

from tfclust.runtime import terminal

_WAY_OUT = (
    "Expected a ResNet-18, 34 or 50 in torchvision's names, or DeepCluster's "
    "AlexNet or VGG16, as docs/backbones.md lists them"
)


def without_network(arrays):
    """The sentence on a file in which no network was found.

    Args:
      arrays: `{name: ndarray}`.
    """
    names = list(arrays)
    if not names:
        return f"it has no tensors. {_WAY_OUT}"
    if any("patch_embed" in name for name in names):
        return f"it is a vision transformer, and tfclust has none. {_WAY_OUT}"
    numbered = any(f".{n}".endswith(".2.0.conv1.weight") for n in names)
    if numbered and any(f".{n}".endswith(".2.0.bn1.weight") for n in names):
        if any(f".{n}".endswith(".1.running_mean") for n in names):
            return (
                "it looks like lightly's ResNetGenerator within nn.Sequential, "
                f"which has no ReLU behind its first layer. {_WAY_OUT}"
            )
        return (
            "it is SeLa's ResNet of pre-activations (resnetv2), whose blocks "
            f"begin with batch norm. {_WAY_OUT}"
        )
    return (
        f"none of its {len(names)} arrays ({listed(names)}) begins a network "
        f"that is known. {_WAY_OUT}"
    )


def refuse(layout):
    """Raises ValueError for a network whose arrays fit, but not its layers.

    Args:
      layout: a `layouts.Layout`.
    """
    stem = layout.network.get("conv1.weight")
    small = stem is not None and stem.shape[2:] == (3, 3)
    if small and layout.title.startswith("solo-learn's"):
        raise ValueError(
            "it is solo-learn's ResNet for CIFAR, whose first convolution pads "
            "two pixels a side where this library's pads one. Give one that "
            "was trained on larger images"
        )


def listed(names):
    """The first few of many names, for a sentence."""
    shown = ", ".join(terminal.one_line(name) for name in list(names)[:3])
    return f"{shown}, ..." if len(names) > 3 else shown
