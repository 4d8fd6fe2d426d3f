"""scikit-learn's 1,797 handwritten digits of 8 x 8 pixels; no download.

The bundled set is the test part of the UCI "Optical Recognition of Handwritten
Digits" (Alpaydin and Kaynak 1998), grey levels 0 to 16. It has no split of its
own. Here every fifth image of each class, in the set's order, is a test image:
364 test and 1,433 training images with the same share of each class.
"""

import urllib.parse

import numpy as np
from sklearn.datasets import load_digits

from tfclust.data.sources.base import ArraySource
from tfclust.runtime.terminal import one_line

SPLITS = ("train", "test", "all")
_TEST_EVERY = 5


def open_uri(asked):
    """The source for `digits:?split=...`; takes a `schemes.Asked`."""
    return open_digits(_split(asked), asked.max_images, asked.argument)


def open_digits(split, max_images=None, argument="data"):
    """The `ArraySource` of a split.

    Args:
      split: "train", "test" or "all".
      max_images: int, only the first this many; None for all.
      argument: str, the argument that named the split, for errors.

    Raises:
      ValueError: if there is no such split.
    """
    if split not in SPLITS:
        raise ValueError(
            f"digits has the splits {', '.join(SPLITS)}. Received: "
            f"{argument}=digits:?split={one_line(split)}. Write "
            "digits:?split=train."
        )
    digits = load_digits()
    test = np.zeros(len(digits.target), bool)
    for digit in range(10):
        test[np.flatnonzero(digits.target == digit)[::_TEST_EVERY]] = True
    kept = {"train": ~test, "test": test, "all": np.ones_like(test)}[split]
    rows = np.flatnonzero(kept)[:max_images]
    # 16 grey levels and their zero, spread over 0..255.
    images = np.round(digits.images[rows] * (255 / 16)).astype(np.uint8)
    return ArraySource(
        images,
        digits.target[rows],
        class_names=[str(digit) for digit in range(10)],
        uri=f"digits:?split={split}",
    )


def _split(asked):
    """The word after `?split=`; "train" if there is none."""
    rest = asked.path
    query = urllib.parse.parse_qsl(
        rest.removeprefix("?"), keep_blank_values=True
    )
    names = [name for name, _ in query]
    if names not in ([], ["split"]) or (rest and not rest.startswith("?")):
        raise ValueError(
            "digits takes only a split, once: digits:?split=train. Received: "
            f"{asked.argument}={one_line(asked.uri)}."
        )
    return dict(query).get("split", "train")
