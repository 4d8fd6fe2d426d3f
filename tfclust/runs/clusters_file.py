"""`clusters.json`: what each cluster is called, how large it is, its exemplars.

Beside it, `clusters.npz` has the clusters' centres, by which later images are
said to fit them or not. Both are written by `tfclust.cluster` and at a run's
end, and travel with the run's export.
"""

import json
import pathlib
from typing import Any, NamedTuple

import numpy as np

from tfclust.runs import folder
from tfclust.runtime import files, folders

LARGEST_ID = 1_000_000  # there is a row of centres for each number
_VERSION = 1
_WAY_OUT = "Make room, or give another output."
_LONGEST = 200  # characters of a name


class ClustersFile(NamedTuple):
    """about: what was clustered, a dict; clusters: a list of dicts with id,
    model_cluster, name, named_by_run, size, exemplars and reach; centres
    `[K, F]` by id."""

    about: dict[str, Any]
    clusters: list[dict[str, Any]]
    centres: np.ndarray | None = None

    @property
    def names(self):
        """`{id: name}` of the clusters that have one."""
        return {c["id"]: c["name"] for c in self.clusters if c["name"]}

    @property
    def model_names(self):
        """`{the model's own number: name}`."""
        return {
            c["model_cluster"]: c["name"]
            for c in self.clusters
            if c["name"] and c["model_cluster"] is not None
        }


def table_at(path):
    """The path of a table as a user gave it; for a folder, that of its run."""
    path = folders.expanded(path)
    return path / folder.CLUSTERS if path.is_dir() else path


def beside(table):
    """The path of the file that belongs to a table's path."""
    return pathlib.Path(table).with_suffix(".json")


def check(path):
    """Refuses a path whose files would replace others of the same names.

    Raises:
      ValueError: if there is another JSON file, or an archive without centres.
    """
    archive = path.with_suffix(".npz")
    if archive.exists() and _centres(archive) is None:
        raise ValueError(
            f"{archive} would be replaced by the centres of the clusters, and "
            "is something else. Move it away, or give another output."
        )
    read(path)


def check_other(path):
    """Refuses a path at which the centres of clusters are kept.

    Raises:
      ValueError: if they are.
    """
    if path.with_suffix(".json").exists() and _centres(path) is not None:
        raise ValueError(
            f"output must not replace the centres of clusters. Received: "
            f"{path}, which belongs to {path.with_suffix('.json').name}. Give "
            "another name."
        )


def write(path, found):
    """Writes a `ClustersFile` and its centres, each as a whole."""
    words = {"version": _VERSION, **found.about, "clusters": found.clusters}
    with folders.writing(f"the clusters' names in {path}", _WAY_OUT):
        if found.centres is not None:
            with files.replacing(path.with_suffix(".npz")) as file:
                np.savez(file, centres=np.asarray(found.centres, np.float32))
        text = json.dumps(words, indent=1, ensure_ascii=False)
        # A file's name may hold bytes that are not UTF-8.
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
        files.write_text(path, text + "\n")


def read(path):
    """The `ClustersFile` at `path`; None if there is none.

    Raises:
      ValueError: if it is damaged.
    """
    try:
        words = json.loads(path.read_text("utf-8"))
        clusters, version = words.pop("clusters"), words.pop("version")
        if version == _VERSION:
            _check(words, clusters)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except _DAMAGED as error:
        raise ValueError(f"{path} is damaged: {error!r}. {_AGAIN}") from error
    if version != _VERSION:
        raise ValueError(f"{path} is of another version. {_AGAIN}")
    return ClustersFile(words, clusters, _centres(path.with_suffix(".npz")))


_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
_AGAIN = (
    "Move it away, and run tfclust.cluster again; --names with the moved file "
    "keeps the names that can be read."
)
_KINDS = {"id": int, "name": str, "model_cluster": int | None}
_KINDS |= {"reach": int | float}


def _check(about, clusters):
    """Raises one of `_DAMAGED` if what is used of a file is not in it."""
    wanted = [(about, {"images": str, "outliers": int | float})]
    for values, kinds in wanted + [(c, _KINDS) for c in clusters]:
        for key, kind in kinds.items():
            if not isinstance(values[key], kind):
                raise TypeError(f"{key}: {values[key]!r}")
    for key in ("id", "model_cluster"):
        numbers = [c[key] for c in clusters if c[key] is not None]
        if len({*numbers}) < len(numbers):
            raise ValueError(f"{key} occurs twice")
        if numbers and not 0 <= min(numbers) <= max(numbers) <= LARGEST_ID:
            raise ValueError(f"{key} must be from 0 to {LARGEST_ID:,}")


def images_of(table):
    """The images that a table is of, as its file says; "" if none does."""
    try:
        found = read(beside(table))
    except ValueError:  # a table from elsewhere may lie beside anything
        return ""
    return found.about.get("images", "") if found is not None else ""


def same_images(one, other):
    """Whether two `images` of files name the same ones."""
    return one.rstrip("/") == other.rstrip("/")


def read_names(path):
    """`{id: name}` of a file that the gallery saves: `{"3": "cats"}`.

    Of a `clusters.json`, damaged or of another version, its names.

    Raises:
      FileNotFoundError: if it is not there.
      ValueError: if it is anything else.
    """
    path = folders.expanded(path)
    if not path.is_file():
        raise FileNotFoundError(f"names={path} does not exist.")
    try:
        # Some editors begin a file with a mark.
        words = json.loads(path.read_text("utf-8-sig"))
        if isinstance(words.get("clusters"), list):
            named = ((str(c["id"]), c["name"]) for c in words["clusters"])
            words = {k: name for k, name in named if name}
        found = {_number(k): _as_name(name) for k, name in words.items()}
    except _DAMAGED as error:
        raise ValueError(
            'names must be a JSON file of names by cluster, such as {"3": '
            f'"cats"}}. Received: names={path}: {error}.'
        ) from error
    long = [name for name in found.values() if len(name) > _LONGEST]
    if long:
        raise ValueError(
            f"a cluster's name may have {_LONGEST} characters. Received: "
            f"{len(long[0])} in names={path}."
        )
    return found


def _number(key):
    if not key.isdecimal():
        raise ValueError(f"{key!r} is no cluster's number")
    return int(key)


def _as_name(text):
    """One line that every file can hold: JSON may have half a character."""
    line = " ".join(text.split())
    return line.encode("utf-8", "backslashreplace").decode("utf-8")


def _centres(path):
    try:
        with np.load(path) as stored:
            return stored["centres"]
    except Exception:  # what a damaged archive raises is of a dozen classes
        return None
