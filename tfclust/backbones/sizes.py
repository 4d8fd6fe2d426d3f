"""Images that are too small for a network, found before anything is computed.

A network without padding, or one that halves its map once too often, is left
without any position. Which size is too small, only its layers can tell.
"""

import keras

from tfclust.backbones import graph

_LEAST, _LARGEST = 8, 2048  # pixels; no other size is tried


def check_size(backbone, argument, size):
    """Refuses images of `size` if `backbone` is too deep for them.

    Only shapes go through the layers; no image is computed.

    Args:
      backbone: a functional `keras.Model` of images `[B, H, W, 3]`.
      argument: str, the argument that gave the size, such as "image_size".
      size: int, pixels.

    Raises:
      ValueError: with the one size, or the smallest larger size, that the
        backbone takes.
    """
    only = graph.input_size(backbone)
    if only not in (None, size):
        raise ValueError(
            f"backbone {backbone.name} takes images of {only} px only. "
            f"Received: {argument}={size}. Give {only}, or a backbone that "
            "takes any size."
        )
    error = _failure(backbone, size)
    if error is None:
        return
    smallest = _smallest(backbone, size)
    way_out = (
        f"Its layers say: {error}"
        if smallest is None
        else f"Give {smallest} or more, or a backbone that halves its map less "
        "often, such as small."
    )
    raise ValueError(
        f"backbone {backbone.name} is too deep for images of {size} px. "
        f"Received: {argument}={size}. {way_out}"
    ) from error


def smallest_size(backbone):
    """The smallest size that a backbone takes, at least 8 pixels.

    Args:
      backbone: as for `check_size`, of any size above some limit.
    """
    if _failure(backbone, _LEAST) is None:
        return _LEAST
    return _smallest(backbone, _LEAST) or _LARGEST


def _failure(backbone, size):
    """The ValueError for images of `size`, or None."""
    try:
        backbone.compute_output_spec(keras.KerasTensor([1, size, size, 3]))
    except ValueError as error:
        return error
    return None


def _smallest(backbone, fails):
    """The smallest size that works and whose predecessor fails, or None."""
    works = 2 * fails
    while _failure(backbone, works) is not None:
        fails, works = works, 2 * works
        if works > _LARGEST:
            return None
    while works - fails > 1:
        middle = (fails + works) // 2
        if _failure(backbone, middle) is None:
            works = middle
        else:
            fails = middle
    return works
