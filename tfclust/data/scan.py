"""The check before step 0: every image decoded once, the result kept on disk.

A kept result is used again where a file's size and time of change are the same;
it is written as the check goes on, so that one that was interrupted continues.
What could not be opened is tried again each time.
"""

import hashlib
import os
import pathlib

import numpy as np

from tfclust.data.decoding import Checks, check_images

_BLOCK = 50_000  # images between two writes
_NAMES_SHOWN = 3


def checked_files(root, names, paths, stats, cache_dir):
    """`Checks` of files, read from the cache where they have not changed.

    Args:
      root: the folder they belong to; gives the cache its name.
      names: list of str, relative paths. paths: list of str, to open.
      stats: list of `os.stat_result`, None where there is none to be had.
      cache_dir: folder of the cache, or None.
    """
    marks = [
        f"{n}|{s.st_size}|{s.st_mtime_ns}" if s else f"{n}|"
        for n, s in zip(names, stats, strict=True)
    ]
    cache = None if cache_dir is None else _cache_path(root, cache_dir)
    known = _read_cache(cache)
    unopened = set()
    missing = [i for i, mark in enumerate(marks) if mark not in known]
    for start in range(0, len(missing), _BLOCK):
        block = missing[start : start + _BLOCK]

        def read(position, block=block):
            try:
                return pathlib.Path(paths[block[position]]).read_bytes()
            except OSError:
                unopened.add(marks[block[position]])
                raise

        found = check_images(read, len(block))
        rows = zip(*found, strict=True)
        known.update(zip([marks[i] for i in block], rows, strict=True))
        if cache is not None:
            kept = {m: known[m] for m in known if m not in unopened}
            _write_cache(cache, kept)
    return _as_checks([known[mark] for mark in marks])


def good_and_skipped(checks, names, uri, max_bad_share):
    """Positions of the good images, and (name, reason) of the others.

    Raises:
      ValueError: if more than `max_bad_share` of them are bad.
    """
    good = np.flatnonzero(checks.reasons == "")
    bad = np.flatnonzero(checks.reasons != "")
    skipped = [(printable(names[i]), str(checks.reasons[i])) for i in bad]
    if len(bad) > max_bad_share * len(names) or not len(good):
        shown = "; ".join(
            f"{name}: {reason}" for name, reason in skipped[:_NAMES_SHOWN]
        )
        raise ValueError(
            f"{uri}: {len(bad)} of {len(names)} images cannot be read, more "
            f"than a share of {max_bad_share:g}. First: {shown}. Remove or "
            "replace them."
        )
    return good, skipped


def printable(name):
    r"""A file's name as text; `\xe9` for a byte that is no UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def read_npz(path, names):
    """Arrays of `path` by name; None if it is missing, damaged or another's."""
    try:
        with np.load(path) as stored:
            return {name: stored[name] for name in names}
    except Exception:  # what a damaged archive raises is of a dozen classes
        return None


def write_npz(path, **arrays):
    """Writes arrays to `path` at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with open(partial, "wb") as file:
        np.savez(file, **arrays)
    os.replace(partial, path)


def _cache_path(root, cache_dir):
    where = os.fsencode(pathlib.Path(root).resolve())
    name = f"scan-{hashlib.sha256(where).hexdigest()[:16]}.npz"
    return pathlib.Path(cache_dir).expanduser() / name


def _read_cache(path):
    """`{mark: (height, width, jpeg, reason)}`; empty where there is none."""
    stored = path and read_npz(path, ["marks", *Checks._fields])
    if not stored:
        return {}
    rows = zip(*(stored[name] for name in Checks._fields), strict=True)
    return dict(zip(stored["marks"].tolist(), rows, strict=True))


def _write_cache(path, known):
    if not known:
        return
    checks = _as_checks(list(known.values()))
    write_npz(path, marks=np.array(list(known), np.str_), **checks._asdict())


def _as_checks(rows):
    heights, widths, jpeg, reasons = zip(*rows, strict=True)
    return Checks(
        np.array(heights, np.int32),
        np.array(widths, np.int32),
        np.array(jpeg, bool),
        np.array(reasons, np.str_),
    )
