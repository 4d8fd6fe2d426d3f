"""A SavedModel of `save`, loaded with its card; what is damaged is told."""

import contextlib
import json
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

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
      path: a version, or the folder of versions, of which the newest is taken.

    Returns:
      `Loaded`.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if a file of it is missing or damaged.
    """
    path = newest_version(path)
    card = _card(path / CARD_FILE)
    sizes = card["preprocessing"]
    image_size, resize_size = sizes["centre_crop"], sizes["resize_short_side"]
    images = tf.zeros([1, image_size, image_size, 3])
    try:
        # `load` writes a traceback of a damaged one, and goes on.
        with contextlib.suppress(FileNotFoundError):
            tf.saved_model.experimental.read_fingerprint(str(path))
        model = tf.saved_model.load(str(path))
        features = model(images, training=False)
        found = f"features {features.dtype.name} {list(features.shape)}"
        fits = features.dtype == tf.float32 and features.shape.rank == 2
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file they are of many classes
        lines = str(error).strip().splitlines() or [repr(error)]
        raise ValueError(
            f"saved_model={path} cannot be loaded: {lines[0]}. {_WAY_OUT}"
        ) from error
    if not fits or not bool(tf.reduce_all(tf.math.is_finite(features))):
        raise ValueError(
            f"saved_model={path} must give an image finite float32 features "
            f"[1, F]. Received: {found}. {_WAY_OUT}"
        )
    return Loaded(path, model, card, image_size, resize_size)


def _card(path):
    """The model card, with the parts that a user of the model needs."""
    try:
        card = json.loads(path.read_text("utf-8"))
        sizes = card["preprocessing"]
        crop, short = sizes["centre_crop"], sizes["resize_short_side"]
        whole = type(crop) is int and type(short) is int and 1 <= crop <= short
        words = card["recipe"]
        fits = whole and (words is None or isinstance(words, dict))
    except FileNotFoundError as error:
        raise ValueError(
            f"saved_model={path.parent} must have a {path.name}, which "
            f"tfclust.export writes. Received: none. {_WAY_OUT}"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error!r}. {_WAY_OUT}") from error
    if not fits:
        raise ValueError(
            f"{path} must tell of a crop within the resized image, and of a "
            f"recipe or null. Received: preprocessing={json.dumps(sizes)}. "
            f"{_WAY_OUT}"
        )
    return card
