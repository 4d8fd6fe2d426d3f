"""Loads a SavedModel written by `save`, and its card; reports damage."""

import contextlib
import json
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfclust.saved_model.damage import telling_damage
from tfclust.saved_model.versions import CARD_FILE, newest_version

_WAY_OUT = "Write it again with tfclust.export, or give another version."


class Loaded(NamedTuple):
    """A SavedModel: images `[B, H, W, 3]` in [0, 1] to features `[B, F]`."""

    path: pathlib.Path
    model: Callable
    card: dict
    image_size: int
    resize_size: int


def load(path):
    """Loads a version that `save` wrote, and tries it on one image.

    Args:
      path: a version, or the folder of versions, for the newest.

    Returns:
      `Loaded`.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if one of its files is missing or damaged.
    """
    path = newest_version(path)
    card = read_card(path / CARD_FILE)
    sizes = card["preprocessing"]
    image_size, resize_size = sizes["centre_crop"], sizes["resize_short_side"]
    images = tf.zeros([1, image_size, image_size, 3])
    with telling_damage(f"saved_model={path}", _WAY_OUT):
        # `load` writes a traceback for a damaged one, and continues.
        with contextlib.suppress(FileNotFoundError):
            tf.saved_model.experimental.read_fingerprint(str(path))
        model = tf.saved_model.load(str(path))
        features = model(images, training=False)
        found = f"features {features.dtype.name} {list(features.shape)}"
        fits = features.dtype == tf.float32 and features.shape.rank == 2
    if not fits or not bool(tf.reduce_all(tf.math.is_finite(features))):
        raise ValueError(
            f"saved_model={path} must return finite float32 features [1, F] "
            f"for an image. Received: {found}. {_WAY_OUT}"
        )
    return Loaded(path, model, card, image_size, resize_size)


def read_card(path):
    """The model card, with the parts that a user of the model needs."""
    card = _read(path)
    kind = card.get("kind")
    if kind is not None:  # a detector or a search model
        made_of = card.get("backbone") or card.get("saved_model")
        raise ValueError(
            f"saved_model={path.parent} must be an export of features, as "
            f"tfclust.export writes. Received: a {kind} model. Give the export "
            f"that it was made from, {made_of}."
        )
    try:
        sizes = card["preprocessing"]
        crop, short = sizes["centre_crop"], sizes["resize_short_side"]
        whole = type(crop) is int and type(short) is int and 1 <= crop <= short
        words = card["recipe"]
        fits = whole and (words is None or isinstance(words, dict))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}. {_WAY_OUT}") from error
    if not fits:
        raise ValueError(
            f"{path} must have a crop within the resized image, and a "
            f"recipe or null. Received: preprocessing={json.dumps(sizes)}. "
            f"{_WAY_OUT}"
        )
    return card


def _read(path):
    """The card's JSON object."""
    try:
        card = json.loads(path.read_text("utf-8"))
        if not isinstance(card, dict):
            raise ValueError("it is no JSON object")
        return card
    except FileNotFoundError as error:
        raise ValueError(
            f"saved_model={path.parent} must have a {path.name}, which "
            f"tfclust.export writes. Received: none. {_WAY_OUT}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error!r}. {_WAY_OUT}") from error
