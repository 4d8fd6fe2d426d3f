"""A published checkpoint as arrays for a backbone, and what it is, in words."""

from typing import NamedTuple

import numpy as np

from tfclust.backbones import front
from tfclust.backbones.pretrained import (
    conversion,
    fitting,
    layouts,
    networks,
)
from tfclust.backbones.pretrained.heads import Head, head_of
from tfclust.backbones.pretrained.safetensors_file import read_safetensors
from tfclust.backbones.pretrained.torch_file import read_torch

_SAFETENSORS = ".safetensors"
_TORCH = (".pth", ".pt", ".tar", ".ckpt", ".torch", ".bin")
ENDINGS = (_SAFETENSORS, *_TORCH)


class Published(NamedTuple):
    """What a checkpoint gives to a backbone.

    arrays: one for each of `backbone.weights`: its published name, itself, and
    what it is to a layer, such as "kernel".
    told: what was recognised and what was set aside, in one sentence.
    head: projector and prototypes, None without.
    """

    arrays: tuple[tuple[str, np.ndarray, str], ...]
    told: str
    head: Head | None


def read(path, backbone):
    """Reads a checkpoint of PyTorch's, or a safetensors file.

    Args:
      path: `pathlib.Path` of a file whose name ends as `ENDINGS` has it.
      backbone: a functional `keras.Model`, as `build` gives it.

    Returns:
      `Published`; shapes are not compared with the backbone's yet.

    Raises:
      ValueError: if the file is damaged, holds another network, or arrays are
        missing or left over.
    """
    try:
        return _read(path, backbone)
    except ValueError as error:
        raise ValueError(f"init_from={path}: {error}.") from error


def _read(path, backbone):
    wanted = networks.sources(backbone)
    safe = path.name.endswith(_SAFETENSORS)
    layout = layouts.recognised(
        read_safetensors(path) if safe else read_torch(path)
    )
    fitting.check(layout, backbone, wanted)
    arrays = [
        conversion.converted(layout.network[source.name], source)
        for source in wanted
    ]
    if arrays[0].ndim == 4:  # the input's side comes first
        arrays[0] = conversion.scaled_for(
            backbone, arrays[0], layout.image_std, front.IMAGE_MEAN
        )
    fitted = tuple(
        (source.name, array, source.parameter)
        for source, array in zip(wanted, arrays, strict=True)
    )
    head = head_of(layout.aside)
    return Published(fitted, _told(path, layout, head), head)


def _told(path, layout, head):
    parts = [f"{len(layout.network)} arrays"]
    if head is not None:
        counts = ", ".join(f"{p.shape[1]:,}" for p in head.prototypes)
        parts.append(f"a projector and {counts} prototypes")
    aside = layouts.first_words(layout.aside)
    words = ", ".join(f"{word} ({count})" for word, count in aside.items())
    set_aside = f"; not for the backbone: {words}" if aside else ""
    return (
        f"Weights of {path.name}: {layout.title}, {' with '.join(parts)}"
        f"{set_aside}."
    )
