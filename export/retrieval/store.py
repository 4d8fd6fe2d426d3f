"""An index on disk: parts of features, and the list of those that count.

    index.json        what is committed; replaced as a whole, last
    parts/<n>.npy     unit rows, float32 [m, F]
    parts/<n>.json    whose they are: URI, names, hashes; written after the rows
    nearest-<n>.*     the approximate index, where there are enough images
    duplicates.tsv    near duplicates

A part is complete when its .json is there. Those that `index.json` does not
name are from a build that was stopped, which the next one takes over.
"""

import contextlib
import errno
import json
import pathlib
import re
import resource
from typing import NamedTuple

import numpy as np

from tfclust.runtime import files, folders, locks, terminal

FORMAT = 1
INDEX_FILE, PARTS, DUPLICATES_FILE = "index.json", "parts", "duplicates.tsv"
_PART = re.compile(r"([0-9]+)\.json")
_OURS = re.compile(r"nearest-[0-9]+\.[0-9]+\.faiss")
_TRIES = 3
_OTHER_FILES = 256  # that are open beside an index's
_BUILD = "Build it with export.retrieval.build_index"


class Key(NamedTuple):
    """What one row is the features of."""

    name: str
    digest: int
    num_bytes: int


class Part(NamedTuple):
    """Rows of images that came together."""

    number: int
    uri: str
    keys: list  # of `Key`, one a row


class Index(NamedTuple):
    """What a reader sees: one committed state."""

    folder: pathlib.Path
    about: dict
    parts: list  # of `Part`
    features: list  # of float32 `[m, F]`, on the disk, one a part
    searcher: object = None  # what `opens` of `open_index` returned

    @property
    def count(self):
        return sum(len(part.keys) for part in self.parts)


def names_of(parts):
    """(URI, name) of all rows."""
    return [(p.uri, key.name) for p in parts for key in p.keys]


@contextlib.contextmanager
def locked(folder):
    """Locks an index against a second build.

    Raises:
      BusyError: if another process builds there.
      ValueError: if the folder cannot be made or written to.
    """
    folder = folders.writable("output", folder)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.lock(folder))
        except locks.BusyError as error:
            raise locks.BusyError(
                f"output={folder} is in use: another build_index writes "
                "there. Wait for it, or give another output."
            ) from error
        yield folder


def read_about(folder):
    """`index.json`, or None if there is none.

    Raises:
      ValueError: if it is damaged, or of another version.
    """
    path = folder / INDEX_FILE
    try:
        about = json.loads(path.read_text("utf-8"))
        known = about["format"]
        needed = ("identity", "parts", "nearest", "count", "width")
        whole = all(name in about for name in needed)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, repr(error)) from error
    if known != FORMAT:
        raise ValueError(
            f"{path} must be of format {FORMAT}. Received: format {known}. "
            f"{_BUILD} into another folder."
        )
    if not whole:
        raise _damaged(path, "entries are missing")
    return about


def open_index(folder, argument="index", opens=None):
    """The `Index` in a folder.

    Args:
      folder: of the index.
      argument: str, the argument that gave it, for errors.
      opens: function of the folder, the rows and what is kept of the lists,
        such as `nearest.searcher`; None if the lists are not needed. All is
        opened at once: what a build replaces it then removes.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it is not finished or damaged.
    """
    folder = folders.expanded(folder)
    for attempt in range(_TRIES):
        about = read_about(folder)
        if about is None:
            raise FileNotFoundError(
                f"no index in {argument}={terminal.one_line(folder)}: "
                f"expected {INDEX_FILE}. {_BUILD}."
            )
        if not about["count"]:
            raise ValueError(
                f"{argument}={terminal.one_line(folder)} is not finished: no "
                "image of it can be found yet. Run build_index again, which "
                "goes on where it was stopped."
            )
        try:
            parts = [read_part(folder, number) for number in about["parts"]]
            features = rows_of(folder, parts)
            searcher = opens and opens(folder, features, about["nearest"])
            return Index(folder, about, parts, features, searcher)
        except FileNotFoundError as error:
            # A build that has just ended removes what it replaced.
            if attempt == _TRIES - 1 or read_about(folder) == about:
                raise _damaged(error.filename, "it is not there") from error
    raise AssertionError("unreachable")


def part_numbers(folder):
    """The parts that are complete, committed or not."""
    place = folder / PARTS
    found = [_PART.fullmatch(p.name) for p in place.glob("*.json")]
    return sorted(int(match[1]) for match in found if match)


def read_part(folder, number):
    """The `Part` of a number."""
    path = folder / PARTS / f"{number}.json"
    try:
        stored = json.loads(path.read_text("utf-8"))
        keys = [Key(str(n), int(d), int(b)) for n, d, b in stored["keys"]]
        return Part(number, str(stored["uri"]), keys)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, repr(error)) from error


def rows_of(folder, parts):
    """float32 `[m, F]` of each part, on the disk, all open at a time."""
    _allow_open_files(len(parts))
    return [read_rows(folder, part) for part in parts]


def read_rows(folder, part):
    """float32 `[m, F]` of a part, on the disk."""
    path = folder / PARTS / f"{part.number}.npy"
    try:
        rows = np.load(path, mmap_mode="r")
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise ValueError(
                f"{terminal.one_line(path)} cannot be opened: "
                f"{error.strerror}. An index has an open file for each part. "
                "Raise the limit: ulimit -n."
            ) from error
        raise
    except (ValueError, EOFError) as error:
        raise _damaged(path, str(error)) from error
    if rows.ndim != 2 or len(rows) != len(part.keys):
        raise _damaged(path, f"{rows.shape} for {len(part.keys)} names")
    return rows


def write_part(folder, uri, keys, rows):
    """Writes a part under the next free number.

    Returns:
      `Part`.
    """
    place = folder / PARTS
    place.mkdir(exist_ok=True)
    number = max(part_numbers(folder), default=0) + 1
    with files.replacing(place / f"{number}.npy") as file:
        np.save(file, np.ascontiguousarray(rows, np.float32))
    stored = {"uri": uri, "keys": [list(key) for key in keys]}
    # ASCII, since a name may hold bytes that are not UTF-8, as surrogates.
    files.write_text(place / f"{number}.json", json.dumps(stored))
    return Part(number, uri, list(keys))


def merged(folder, uri, parts, most):
    """The parts of one set, of which small neighbours become one.

    Else each build with a new image would leave a part, and an open file to
    every reader.

    Args:
      folder: of the index. uri: of the set. parts: its `Part`s.
      most: int, rows of a part.

    Returns:
      list of `Part`, by number.
    """
    groups: list[list[Part]] = []
    for part in sorted(parts):
        rows = sum(len(one.keys) for one in groups[-1]) if groups else most
        if rows + len(part.keys) <= most:
            groups[-1].append(part)
        else:
            groups.append([part])
    found = []
    for group in groups:
        whole = group[0]
        if len(group) > 1:
            rows = np.concatenate([read_rows(folder, one) for one in group])
            keys = [key for one in group for key in one.keys]
            whole = write_part(folder, uri, keys, rows)
        found.append(whole)
    if len(found) < len(parts):  # which are neighbours has changed
        return merged(folder, uri, found, most)
    return sorted(found)


def write_about(folder, about):
    """Commits a state."""
    text = json.dumps({"format": FORMAT, **about}, indent=1)
    files.write_text(folder / INDEX_FILE, text + "\n")
    files.flush(folder)


def tidy(folder, kept_parts, kept_files):
    """Removes parts and approximate indexes that nothing names any more.

    Args:
      folder: of the index.
      kept_parts: numbers. kept_files: names in `folder`.
    """
    place = folder / PARTS
    for path in list(place.glob("*")):
        number = path.name.partition(".")[0]
        ours = path.suffix in (".json", ".npy") and number.isdigit()
        if path.name.endswith(".partial") or (
            ours and int(number) not in kept_parts
        ):
            path.unlink(missing_ok=True)
    for path in list(folder.iterdir()):
        if _OURS.fullmatch(path.name) and path.name not in kept_files:
            path.unlink(missing_ok=True)


def _allow_open_files(count):
    """Raises the process' own limit where it may; the usual one is 1,024."""
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + _OTHER_FILES
    if few == resource.RLIM_INFINITY or few >= needed:
        return
    if most != resource.RLIM_INFINITY:
        needed = min(needed, most)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, most))


def _damaged(path, why):
    return ValueError(
        f"{terminal.one_line(path)} is damaged: {why}. Remove the index's "
        "folder and build it again, with export.retrieval.build_index."
    )
