"""The projector and prototypes that SwAV's checkpoints bring along.

Names of facebookresearch/swav `src/resnet50.py` at 06b1b7c, and of vissl
`vissl/models/heads/swav_prototypes_head.py` at 09270ed, which has them below
`heads.0.`: `projection_head.0` (linear), `.1` (batch norm), `.3` (linear), or a
single `projection_head`; `prototypes`, or `prototypes.prototypes0`, `1`, ...
"""

import re
from typing import NamedTuple

import numpy as np

from tfclust.ops.units import unit_rows

_PROTOTYPES = re.compile(r"(prototypes\.)?(prototypes(\d*))\.weight")
_NORM = ("weight", "bias", "running_mean", "running_var")


class Head(NamedTuple):
    """What follows the features in a checkpoint, in Keras's layout.

    weights: arrays in the order of `layers.projectors.projector`'s weights.
    prototypes: unit columns `[D, K]`, one a head.
    """

    hidden_width: int
    hidden_batch_norm: bool
    projection_width: int
    weights: tuple[np.ndarray, ...]
    prototypes: tuple[np.ndarray, ...]


def head_of(aside):
    """The `Head` among arrays that are set aside, None where there is none.

    SwAV brings prototypes to unit length before each step, so that those it
    saves are off by one update; they are brought to it here.

    Args:
      aside: `{name: ndarray}`, `Layout.aside`.

    Returns:
      `Head` or None.
    """
    prefix = _prefix(aside)
    if prefix is None:
        return None
    own = {
        name.removeprefix(prefix): np.asarray(array, np.float32)
        for name, array in aside.items()
        if name.startswith(prefix) and array.ndim in (1, 2)
    }
    prototypes = _prototypes(own)
    layers = {
        name.removeprefix("projection_head."): array
        for name, array in own.items()
        if name.startswith("projection_head.")
    }
    wanted, hidden, normed = _projector(layers)
    if not prototypes or set(layers) != set(wanted):
        return None
    weights = tuple(layers[name].T for name in wanted)
    width = len(weights[-1])
    if any(p.shape[0] != width for p in prototypes):
        return None
    return Head(hidden, normed, width, weights, prototypes)


def _prefix(aside):
    """What stands before `projection_head` in the names."""
    found = {
        match.group(1)
        for name in aside
        if (match := re.fullmatch(r"(.*?)projection_head\.(0\.)?weight", name))
    }
    return found.pop() if len(found) == 1 else None


def _projector(layers):
    """Names in the order of the projector's weights; hidden width; its norm."""
    if "0.weight" not in layers:
        return ["weight", "bias"], 0, False
    hidden = layers["0.weight"].shape[0]
    normed = "1.running_mean" in layers
    last = 3 if normed else 2
    norm = [f"1.{part}" for part in _NORM] if normed else []
    ends = [f"{last}.weight", f"{last}.bias"]
    return ["0.weight", "0.bias", *norm, *ends], hidden, normed


def _prototypes(own):
    """Unit columns `[D, K]` in the order of the heads."""
    found = {
        int(match.group(3) or 0): array
        for name, array in own.items()
        if (match := _PROTOTYPES.fullmatch(name)) and array.ndim == 2
    }
    return tuple(unit_rows(found[i]).T for i in sorted(found))
