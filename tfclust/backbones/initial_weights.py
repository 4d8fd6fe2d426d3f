"""Weights to start from: `--init_from` and `--init_stages`.

Read from a run folder (its newest complete checkpoint), a SavedModel made by
`tfclust.export`, a `.keras` or a `.weights.h5` file, or from what others have
published (`pretrained`).
"""

import pathlib
import re
import warnings
import zipfile
from typing import NamedTuple

import h5py
import keras
import numpy as np

from tfclust.backbones import pretrained
from tfclust.backbones.levels import stages as stages_of
from tfclust.backbones.settings import (
    APPLICATIONS,
    HUB,
    IMAGENET,
    preset_of,
)
from tfclust.runtime import folders
from tfclust.runtime.checkpoint_names import ARRAYS, CHECKPOINTS, MANIFEST

_CHECKPOINT_NAME = re.compile(r"backbone/(\d+)/(.*)")
_KERAS_ENDINGS = (".keras", ".weights.h5")
_SAVED_BACKBONE = pathlib.Path("assets.extra", "backbone.keras")


class Loaded(NamedTuple):
    """What was read: the file, and how many of the weights it gave.

    told: of a published file, what it is, in one sentence. head: its projector
    and prototypes, which the backbone does not take.
    """

    path: pathlib.Path
    num_loaded: int
    num_weights: int
    told: str = ""
    head: pretrained.Head | None = None


class _Saved(NamedTuple):
    """A saved array, the name it was saved by, and what it is to a layer."""

    name: str
    array: np.ndarray
    parameter: str  # such as "kernel"


def load_weights(backbone, init_from, *, stages=None, application=None):
    """Overwrites the weights of `backbone` by saved ones.

    Arrays are matched by name if all names are found, otherwise by position;
    every shape must agree. Nothing is overwritten unless everything can be.

    Args:
      backbone: a functional `keras.Model`, as `build` and `adapt` give it.
      init_from: path of a run folder, one of its checkpoints, a SavedModel or
        the folder of its versions, a `.keras` file (of the backbone, or of a
        model that contains its layers by name), a `.weights.h5` file, or a
        published one of PyTorch or safetensors (docs/backbones.md).
      stages: None for all weights; n for the stem and the first n stages
        (`levels.stages`).
      application: the name in `keras.applications` of the network that
        `backbone` adapts; `init_from="imagenet"` then means Keras's weights.
        Or its "hub:<preset>"; "hub" then means the preset's weights.

    Returns:
      `Loaded`.

    Raises:
      FileNotFoundError: if nothing readable is there.
      ValueError: if what is there does not fit.
    """
    groups = stages_of(backbone)
    if stages is not None and not 0 <= stages < len(groups):
        raise ValueError(
            f"init_stages must be between 0 (the stem) and {len(groups) - 1} "
            f"for backbone {backbone.name}. Received: init_stages={stages}."
        )
    wanted = groups if stages is None else groups[: stages + 1]
    wanted_ids = {id(variable) for group in wanted for variable in group}
    if init_from == IMAGENET and application in APPLICATIONS:
        path = pathlib.Path(IMAGENET)
        found, told, head = _read_application(application)
    elif init_from == HUB and preset_of(application or "") is not None:
        path = pathlib.Path(HUB)
        found, told, head = _read_preset(application)
    else:
        path = find(folders.expanded(init_from))
        found, told, head = _read(path, backbone)
    pairs = [
        (variable, saved)
        for variable, saved in zip(backbone.weights, found, strict=True)
        if id(variable) in wanted_ids
    ]
    if not pairs:
        raise ValueError(
            f"backbone {backbone.name} has no weights in its first stages. "
            f"Received: init_stages={stages}. Try a larger number."
        )
    _check_fit(backbone, pairs, path)
    for variable, saved in pairs:
        variable.assign(saved.array)
    return Loaded(path, len(pairs), len(backbone.weights), told, head)


def find(path):
    """The file that holds the weights.

    Args:
      path: `pathlib.Path`, an `init_from` that is no word.

    Raises:
      FileNotFoundError: if nothing readable is there.
      ValueError: if it is a file of another kind.
    """
    if path.is_file():
        if path.name.endswith((*_KERAS_ENDINGS, *pretrained.ENDINGS)):
            return path
        raise ValueError(
            "init_from must be a run folder, a SavedModel, a .keras or a "
            ".weights.h5 file, or a published one that ends in "
            f"{', '.join(pretrained.ENDINGS)}. Received: init_from={path}."
        )
    if not path.exists():
        raise FileNotFoundError(f"init_from={path} does not exist.")
    candidates = [
        path / ARRAYS,
        *_newest_first(path / CHECKPOINTS, ARRAYS),
        path / _SAVED_BACKBONE,
        *_newest_first(path, _SAVED_BACKBONE),
    ]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"init_from expects {CHECKPOINTS}/<step>/{ARRAYS} (a run folder) or "
        f"{_SAVED_BACKBONE} (an exported SavedModel). Found neither under "
        f"{path}."
    )


def _newest_first(folder, name):
    numbered = [p for p in folder.glob("[0-9]*") if p.name.isdigit()]
    numbered.sort(key=lambda p: int(p.name), reverse=True)
    # A checkpoint is complete once its manifest, which is written last, exists.
    return [
        p / name for p in numbered if name != ARRAYS or (p / MANIFEST).is_file()
    ]


def _read(path, backbone):
    """For each of `backbone.weights` a `_Saved`, or None; `told` and `head`."""
    if path.name.endswith(pretrained.ENDINGS):
        arrays, told, head = pretrained.read(path, backbone)
        return [_Saved(*array) for array in arrays], told, head
    if path.name.endswith(".npz"):
        return _read_checkpoint(path, backbone), "", None
    if path.name.endswith(".weights.h5"):
        return _read_weights_file(path, backbone), "", None
    return _read_model(path, backbone), "", None


def _read_application(name):
    """The weights that Keras publishes, as `_read` gives those of a file."""
    from tfclust.backbones.pretrained import imagenet

    network = imagenet.trained_application(name)
    told = f"Weights of {name}: trained on ImageNet's labels, by Keras."
    return _arrays_of(network), told, None


def _read_preset(name):
    """The weights of a preset of KerasHub, as `_read` gives those of a file."""
    from tfclust.backbones.hub import hub_backbone

    found = _arrays_of(hub_backbone(name, trained=True))
    return found, f"Weights of {name}: those of KerasHub's preset.", None


def _arrays_of(model):
    """A `_Saved` for each of `model.weights`."""
    return [
        _saved(variable.path, array)
        for variable, array in zip(
            model.weights, model.get_weights(), strict=True
        )
    ]


def _read_checkpoint(path, backbone):
    """A run's arrays, in the order of its `backbone.variables`."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            numbered = {
                int(match.group(1)): _saved(match.group(2), arrays[name])
                for name in arrays.files
                if (match := _CHECKPOINT_NAME.fullmatch(name))
            }
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"init_from={path} is damaged: {error}") from error
    # Variables are weights and, with dropout, the states of seed generators.
    positions = {id(v): i for i, v in enumerate(backbone.variables)}
    return [numbered.get(positions[id(v)]) for v in backbone.weights]


def _read_weights_file(path, backbone):
    """Arrays of a `.weights.h5` file, which Keras fits to `backbone`."""
    before = backbone.get_weights()
    try:
        # Keras ignores extra arrays in the file, and warns about parts that
        # never hold weights.
        num_saved = _num_datasets(path)
        if num_saved != len(before):
            raise ValueError(
                f"expected {len(before)} weights, found {num_saved}."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            backbone.load_weights(path)
        return _arrays_of(backbone)
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(
            f"init_from={path} does not fit backbone {backbone.name}: {error}"
        ) from error
    finally:
        backbone.set_weights(before)


def _num_datasets(path):
    counted = []
    with h5py.File(path) as file:
        file.visititems(
            lambda _, entry: (
                counted.append(1) if isinstance(entry, h5py.Dataset) else None
            )
        )
    return len(counted)


def _read_model(path, backbone):
    """A saved model's arrays, by name if it has any of these names."""
    try:
        model = keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(
            f"init_from={path} does not load as a Keras model: {error}"
        ) from error
    arrays = _arrays_of(model)
    by_name = {saved.name: saved for saved in arrays}
    found = [by_name.get(variable.path) for variable in backbone.weights]
    # Automatic names, such as conv2d_7, depend on what a process built before.
    if None in found and len(arrays) == len(found):
        return arrays
    return found


def _check_fit(backbone, pairs, path):
    wrong = [
        f"{variable.path} {tuple(variable.shape)} (found "
        f"{'nothing' if saved is None else _described(saved)})"
        for variable, saved in pairs
        if not _fits(variable, saved)
    ]
    if wrong:
        shown = "; ".join(wrong[:3]) + ("; ..." if len(wrong) > 3 else "")
        raise ValueError(
            f"init_from={path} does not fit backbone {backbone.name}: "
            f"{len(wrong)} of {len(pairs)} weights differ: {shown}. Give "
            "weights of the same backbone, width and stem, or fewer "
            "init_stages."
        )


def _fits(variable, saved):
    return (
        saved is not None
        and saved.array.shape == tuple(variable.shape)
        and saved.parameter == variable.path.split("/")[-1]
    )


def _saved(name, array):
    """Of an array by a name of Keras's, such as `stem_conv/kernel`."""
    return _Saved(name, array, name.split("/")[-1])


def _described(saved):
    return f"{saved.name} {saved.array.shape}"
