"""The SavedModel as a function from images to unit rows, and what names it.

Two models are the same here if they answer the same: their unit features of
four fixed images, and how images are prepared, are kept with an index. A hash
of files would call every new export of a run, or one with folded constants,
another model.
"""

import contextlib
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tfclust import data, saved_model
from tfclust.runtime import terminal

# Cosine below which two models' features of a fixed image are not the same:
# half precision and GPUs differ by 1e-5, an epoch more by far more.
SAME = 0.9999
_ALIKE = (
    "channels",
    "alpha",
    "resize_short_side",
    "resize_method",
    "centre_crop",
    "range",
)
_DIGITS = 7  # of the kept features
_TINY = 1e-12


class Model(NamedTuple):
    """A loaded SavedModel."""

    path: pathlib.Path
    rows: Callable  # uint8 [B, S, S, 3] to unit rows float32 [B, F]
    identity: dict
    image_size: int
    resize_size: int
    width: int


def load(path):
    """Loads a SavedModel, a version or the folder of versions.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it is damaged.
    """
    import tensorflow as tf

    loaded = saved_model.load(path)

    @tf.function(autograph=False)
    def rows(images):
        # Divided, as the model itself does with the bytes that a server gets.
        images = tf.cast(images, tf.float32) / 255.0
        return loaded.model(images, training=False)

    def unit(images):
        return unit_rows(rows(images).numpy())

    probe = unit(_fixed_images(loaded.image_size))
    about = loaded.card["preprocessing"]
    identity = {
        "saved_model": str(loaded.path.absolute()),
        "method": loaded.card.get("method"),
        "data": loaded.card.get("data"),
        "preprocessing": {name: about.get(name) for name in _ALIKE},
        "probe": np.round(probe.astype(np.float64), _DIGITS).tolist(),
    }
    return Model(
        loaded.path,
        unit,
        identity,
        loaded.image_size,
        loaded.resize_size,
        probe.shape[1],
    )


def of_index(index, given, place):
    """The model that an index was built with, or another copy of it.

    If its version has been pruned, the newest one beside it is tried.

    Args:
      index: `store.Index`. given: str, where it is, as the user gave it.
      place: str, where its model is now; empty for where it was.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it is damaged, or another model.
    """
    identity = index.about["identity"]
    given = f"index={terminal.one_line(given)}"
    current = load(place or _still_there(identity["saved_model"], given))
    refuse_other(given, identity, current.identity)
    return current


def _still_there(path, given):
    """The SavedModel at `path`, or the newest of its versions."""
    before = pathlib.Path(path)
    for candidate in (before, before.parent):
        # A model that is no version has others beside it, not its versions.
        if candidate is before or before.name.isdecimal():
            with contextlib.suppress(FileNotFoundError):
                return saved_model.newest_version(candidate)
    raise FileNotFoundError(
        f"the model of {given} is no longer at {terminal.one_line(path)}. "
        "Say where it is now, with --saved_model."
    )


def unit_rows(features):
    """`features` `[B, F]` with length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(lengths, _TINY)


def differences(identity, other):
    """Why two models are not the same, in words; empty if they are.

    Args:
      identity, other: as in `Model`.
    """
    one, two = identity["preprocessing"], other["preprocessing"]
    for name in _ALIKE:
        if one.get(name) != two.get(name):
            return f"its {name} is {one.get(name)}, not {two.get(name)}"
    one, two = np.array(identity["probe"]), np.array(other["probe"])
    if one.shape != two.shape:
        return f"its features are {one.shape[1]} wide, not {two.shape[1]}"
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    cosine = ((one * two).sum(axis=1) / np.maximum(lengths, _TINY)).min()
    if cosine < SAME:
        return (
            f"its features of the same images differ (cosine {cosine:.4f}, at "
            f"least {SAME} asked)"
        )
    return ""


def refuse_other(index, identity, other):
    """Raises ValueError if an index was built by another model.

    Args:
      index: what gave the index, for the error, such as "index=idx".
      identity: of the index. other: of the model at hand.
    """
    why = differences(identity, other)
    if why:
        raise ValueError(
            f"{index} was built with saved_model={identity['saved_model']} "
            f"(method {identity['method']}). Received: "
            f"saved_model={other['saved_model']}: {why}. Give the index's own "
            "model, or build an index for this one in another folder."
        )


def features_of(model, source, rows=None, *, batch_size=64):
    """Unit features of images, batch by batch, in the order of `rows`.

    Args:
      model: `Model`.
      source: `data.Source`. rows: int `[n]`, which images; None for all.
      batch_size: int, images in a call.

    Yields:
      int64 `[b]` rows of `source`; float32 `[b, F]`.

    Raises:
      OSError: if images are gone, and all that could replace them.
    """
    rows = np.arange(source.num_images) if rows is None else np.asarray(rows)
    if not len(rows):
        return
    batches = data.evaluation_batches(
        _Streamed(source, rows),
        image_size=model.image_size,
        resize_size=model.resize_size,
        batch_size=min(batch_size, len(rows)),
    )
    with data.telling_lost_images():
        for batch in batches:
            kept = batch["mask"].numpy()
            found = model.rows(batch["images"])
            yield rows[batch["index"].numpy()[kept]], found[kept]


class _Streamed(data.Sample):
    """Images that are read when their turn comes, and not kept in memory."""

    def stored(self):
        return None


def _fixed_images(size):
    """uint8 `[4, S, S, 3]`: noise, blocks, a slope and stripes in colour."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (size, size, 3), np.uint8)
    coarse = random.integers(0, 256, (4, 4, 3), np.uint8)
    places = np.arange(size) * 4 // size
    blocks = coarse[places][:, places]
    slope = np.linspace(0, 255, size).astype(np.uint8)
    slope = np.stack(
        [
            np.broadcast_to(slope, [size, size]),
            np.broadcast_to(slope[:, None], [size, size]),
            np.full([size, size], 90, np.uint8),
        ],
        axis=-1,
    )
    stripes = np.where(np.arange(size)[:, None, None] % 4 < 2, 230, 20)
    stripes = stripes * np.array([1.0, 0.5, 0.1]) * np.ones([1, size, 1])
    return np.stack([noise, blocks, slope, stripes.astype(np.uint8)])


def load_backbone(path, untrained=False, seed=0):
    """The Keras model beside a SavedModel.

    Args:
      path: a version, or the folder of versions.
      untrained: whether to give it new random weights instead of its own.
      seed: int, of those.

    Raises:
      FileNotFoundError: if there is no such model.
      ValueError: if it cannot be loaded.
    """
    import keras

    file = saved_model.newest_version(path) / saved_model.BACKBONE_FILE
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} is missing: feature maps and untrained networks are made "
            "from it. Export again with tfclust.export."
        )
    try:
        model = keras.models.load_model(file, compile=False)
    except Exception as error:  # damaged files raise many classes
        lines = str(error).strip().splitlines() or [repr(error)]
        raise ValueError(
            f"{file} cannot be loaded: {lines[0]}. Export again."
        ) from error
    if untrained:
        keras.utils.set_random_seed(seed)
        model = keras.Model.from_config(model.get_config())
    return model
