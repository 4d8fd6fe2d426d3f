"""Ground truth of Oxford5k and Paris6k, original and revisited.

Original (Philbin et al. 2007): a folder with `<query>_query.txt` (an image's
name and a box), `<query>_good.txt`, `_ok.txt` and `_junk.txt`. Revisited
(Radenovic et al. 2018): `gnd_roxford5k.pkl`, or the same as JSON: `imlist`,
`qimlist`, and `gnd` with `bbx`, `easy`, `hard` and `junk` for each query.
"""

import json
import pathlib
import pickle
from typing import NamedTuple

import numpy as np

from tfclust.runtime import folders, terminal

_PREFIX = "oxc1_"  # of images' names in Oxford's query files
_QUERY = "_query.txt"
# What counts, and what is junk, in each of the revisited protocols.
REVISITED = {
    "Easy": (("easy",), ("junk", "hard")),
    "Medium": (("easy", "hard"), ("junk",)),
    "Hard": (("hard",), ("junk", "easy")),
}
# What a pickle of lists and arrays may name; anything else would run code.
_HARMLESS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class Query(NamedTuple):
    """A query: a part of an image, and what it should find."""

    image: str  # name without folder and ending
    box: tuple | None  # left, top, right, bottom in pixels
    positives: dict  # protocol -> set of names
    junk: dict  # protocol -> set of names


class GroundTruth(NamedTuple):
    """The queries of a set."""

    queries: list
    protocols: tuple
    images: list | None  # names of the images that are searched; None for all


def read(path):
    """The `GroundTruth` in a folder of text files, a .pkl or a .json.

    Raises:
      FileNotFoundError: if nothing is there.
      ValueError: if it is not such a ground truth.
    """
    path = folders.expanded(path)
    if path.is_dir():
        return _original(path)
    if not path.is_file():
        raise FileNotFoundError(
            "ground_truth must be a folder of *_query.txt files, or "
            "gnd_<set>.pkl or .json of the revisited sets. Found nothing at "
            f"{terminal.one_line(path)}."
        )
    return _revisited(path)


def _original(folder):
    queries = []
    for file in sorted(folder.glob(f"*{_QUERY}")):
        name = file.name.removesuffix(_QUERY)
        words = file.read_text("utf-8").split()
        try:
            image, *box = words
            box = tuple(float(word) for word in box)
            if len(box) != 4:
                raise ValueError
        except ValueError as error:
            raise ValueError(
                f"{terminal.one_line(file)} must hold a name and the four "
                f"numbers of a box. Received: {' '.join(words)[:80]}."
            ) from error
        lists = {
            kind: _names(folder / f"{name}_{kind}.txt")
            for kind in ("good", "ok", "junk")
        }
        queries.append(
            Query(
                image.removeprefix(_PREFIX),
                box,
                {"": lists["good"] | lists["ok"]},
                {"": lists["junk"]},
            )
        )
    if not queries:
        raise ValueError(
            f"ground_truth={terminal.one_line(folder)} must hold "
            "<query>_query.txt files. Found none."
        )
    return GroundTruth(queries, ("",), None)


def _names(file):
    try:
        return set(file.read_text("utf-8").split())
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{terminal.one_line(file)} is missing: each <query>_query.txt "
            "has a _good.txt, an _ok.txt and a _junk.txt beside it."
        ) from error


def _revisited(path):
    try:
        stored = _loaded(path)
        images = [str(name) for name in stored["imlist"]]
        names = [str(name) for name in stored["qimlist"]]
        queries = [
            _query(name, truth, images)
            for name, truth in zip(names, stored["gnd"], strict=True)
        ]
    except (
        ValueError, KeyError, TypeError, IndexError, EOFError,
        AttributeError, RecursionError, pickle.UnpicklingError,
    ) as error:  # fmt: skip
        raise ValueError(
            f"ground_truth={terminal.one_line(path)} must hold imlist, "
            "qimlist, and gnd with bbx, easy, hard and junk, as "
            f"gnd_roxford5k.pkl does. Received: {error}."
        ) from error
    return GroundTruth(queries, tuple(REVISITED), images)


def _query(name, truth, images):
    def named(kind):
        return {images[int(i)] for i in np.ravel(truth[kind]) if int(i) >= 0}

    lists = {kind: named(kind) for kind in ("easy", "hard", "junk")}

    def joined(side):
        return {
            protocol: set().union(*(lists[kind] for kind in kinds[side]))
            for protocol, kinds in REVISITED.items()
        }

    box = truth.get("bbx")
    if box is not None:
        left, top, right, bottom = (float(x) for x in np.ravel(box))
        box = left, top, right, bottom
    return Query(name, box, joined(0), joined(1))


def _loaded(path):
    if path.suffix == ".json":
        return json.loads(path.read_text("utf-8"))
    with open(path, "rb") as file:
        return _Harmless(file, encoding="latin1").load()


class _Harmless(pickle.Unpickler):
    """Reads lists, dicts and arrays, and runs nothing."""

    def find_class(self, module, name):
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, which no ground truth needs"
            )
        return super().find_class(module, name)


def stem(name):
    """A name as ground truth has it: without folders and ending."""
    return pathlib.PurePosixPath(name).stem
