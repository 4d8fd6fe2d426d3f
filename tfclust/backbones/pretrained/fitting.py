"""Whether a checkpoint's network is the backbone, told in the user's words."""

import re

import numpy as np

from tfclust.backbones import front
from tfclust.backbones.pretrained import networks, unsuitable
from tfclust.backbones.resnet import ARCHITECTURES, STEM_WIDTH

_BLOCK = re.compile(r"layer(\d+)\.(\d+)\.conv1\.weight")
_GREY = "sobel.0.weight"
_EDGES = "sobel.1.weight"
_TOLERANCE = 1e-5


def check(layout, backbone, wanted):
    """Raises ValueError where names or the architecture differ.

    Args:
      layout: a `layouts.Layout`.
      backbone: a functional `keras.Model`, as `build` gives it.
      wanted: list of `networks.Source`, one for each of its weights.
    """
    network = layout.network
    if networks.is_resnet(backbone):
        _check_resnet(network, backbone)
    names = {source.name for source in wanted}
    missing = [name for name in dict.fromkeys(names) if name not in network]
    extra = [name for name in network if name not in names]
    said = [
        f"{len(some)} are {word}: {unsuitable.listed(sorted(some))}"
        for some, word in ((missing, "missing"), (extra, "left over"))
        if some
    ]
    if said:
        raise ValueError(
            f"{layout.title} does not fit backbone {backbone.name}: of its "
            f"{len(names)} arrays {'; '.join(said)}"
        )
    _check_edges(layout, backbone, network[wanted[0].name])


def _check_resnet(network, backbone):
    """Names the flags that would build the file's ResNet."""
    stem = network.get("conv1.weight")
    if stem is None or stem.ndim != 4:
        return  # told as missing, or by its shape
    own = backbone.get_layer("stem_conv").kernel.shape
    flags = {
        "backbone": (_name_of(network), backbone.name),
        "width": (stem.shape[0] / STEM_WIDTH, own[-1] / STEM_WIDTH),
        "small_image_stem": tuple(
            "yes" if size == 3 else "no" for size in (stem.shape[2], own[0])
        ),
    }
    differ = {k: v for k, v in flags.items() if v[0] != v[1] and v[0]}
    if differ:
        given = " ".join(f"--{k}={_text(v[0])}" for k, v in differ.items())
        received = ", ".join(f"{k}={_text(v[1])}" for k, v in differ.items())
        raise ValueError(
            f"the file holds another network. Received: {received}. Give "
            f"{given}"
        )


def _name_of(network):
    """The `ARCHITECTURES` key of a file's blocks, None for others."""
    depths: dict[int, int] = {}
    for name in network:
        match = _BLOCK.fullmatch(name)
        if match:
            stage, block = int(match.group(1)), int(match.group(2))
            depths[stage] = max(depths.get(stage, 0), block + 1)
    found = tuple(depths[stage] for stage in sorted(depths))
    bottleneck = "layer1.0.conv3.weight" in network
    for name, architecture in ARCHITECTURES.items():
        if architecture == (found, bottleneck):
            return name
    return None


def _check_edges(layout, backbone, stem):
    """Both see edges or both see colours, and the edges are the same."""
    own = backbone.weights[0].shape[2]
    if stem.ndim == 4 and stem.shape[1] != own:
        edges = stem.shape[1] == 2
        raise ValueError(
            f"the file's network sees {'edges' if edges else 'colours'}. "
            f"Received: sobel={'false' if edges else 'true'}. Give "
            f"--sobel={'true' if edges else 'false'}"
        )
    if not layout.sobel:
        return
    expected = {
        _GREY: np.full([1, 3, 1, 1], 1 / 3),
        _EDGES: front.SOBEL[:, None],
        "sobel.0.bias": np.zeros(1),
        "sobel.1.bias": np.zeros(2),
    }
    for name, array in layout.sobel.items():
        fixed = expected.get(name)
        if (
            fixed is None
            or array.shape != fixed.shape
            or not np.allclose(array, fixed, atol=_TOLERANCE)
        ):
            raise ValueError(
                f"{name} must be DeepCluster's fixed filter, which this "
                "library has. Received: another one"
            )


def _text(value):
    return f"{value:g}" if isinstance(value, float) else str(value)
