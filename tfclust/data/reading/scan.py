"""The check before step 0: every image decoded once, the result kept on disk.

A kept result is used again if a file's size and modification time are the same.
It is written every few seconds during the check, and when the check is
interrupted, so that the next one can resume. What could not be opened is tried
again each time.
"""

import contextlib
import hashlib
import os
import pathlib
import time

import numpy as np

from tfclust.data.reading.checking import Checks, as_checks, check_images
from tfclust.data.reading.files import read_regular
from tfclust.runtime import files, folders, progress
from tfclust.runtime.terminal import one_line

# Raised when a check would find otherwise on the same bytes; what an older one
# kept is not read.
VERSION = 5
_BLOCK = 256  # images between two looks at the clock
_WRITE_EVERY = 20.0  # seconds
_NAMES_SHOWN = 3


class UnreadableImages(ValueError):
    """Too many images cannot be read; `skipped` has (name, reason) of all."""

    def __init__(self, message, skipped):
        super().__init__(message)
        self.skipped = skipped


def checking(what, total, done=0):
    """A progress line for a check; `update` it with the number of new images.

    Args:
      what: str or path, what the images belong to.
      total: int, images. done: int, known from before.
    """
    return progress.line(f"Checking {one_line(what)}", total, done)


def checked_files(root, names, paths, stats, cache_dir):
    """`Checks` of files, read from the cache where they have not changed.

    Args:
      root: the folder they belong to; gives the cache its name.
      names: list of str, relative paths. paths: list of str, to open.
      stats: list of `os.stat_result`, None where it could not be read.
      cache_dir: folder of the cache, or None.

    Raises:
      ValueError: if the cache cannot be written.
    """
    marks = [
        f"{n}|{s.st_size}|{s.st_mtime_ns}" if s else f"{n}|"
        for n, s in zip(names, stats, strict=True)
    ]
    cache = None if cache_dir is None else _cache_path(root, cache_dir)
    known = _read_cache(cache)
    unopened = set()
    missing = [i for i, mark in enumerate(marks) if mark not in known]
    if missing and cache is not None:
        # Reported before the check, which may take an hour.
        with _telling_closed_cache(cache_dir):
            cache.parent.mkdir(parents=True, exist_ok=True)

    def keep():
        kept = {m: known[m] for m in known if m not in unopened}
        if cache is not None and kept:
            with _telling_closed_cache(cache_dir):
                write_npz(cache, **_cached(kept))

    def check(block, count_done):
        def read(position):
            try:
                return read_regular(paths[block[position]])[0]
            except OSError:
                unopened.add(marks[block[position]])
                raise

        found = check_images(read, len(block), count_done)
        rows = zip(*found, strict=True)
        known.update(zip([marks[i] for i in block], rows, strict=True))

    if missing:
        done = len(marks) - len(missing)
        with checking(root, len(marks), done) as line:
            in_blocks(
                len(missing), lambda s: check(missing[s], line.update), keep
            )
    return as_checks([known[mark] for mark in marks])


@contextlib.contextmanager
def _telling_closed_cache(cache_dir):
    try:
        yield
    except OSError as error:
        raise ValueError(
            "cache_dir must be a folder that can be written to. Received: "
            f"cache_dir={one_line(cache_dir)}: {error.strerror or error}. "
            "Give another path."
        ) from error


def in_blocks(count, check, keep):
    """Calls `check` with slices of `count`, and `keep` now and then.

    `keep` is also called at the end, and when the check is interrupted.
    """
    kept_at = time.monotonic()
    try:
        for start in range(0, count, _BLOCK):
            check(slice(start, start + _BLOCK))
            if time.monotonic() - kept_at >= _WRITE_EVERY:
                keep()
                kept_at = time.monotonic()
    finally:
        keep()


def good_and_skipped(checks, names, uri, max_bad_share):
    """Positions of the good images, and (name, reason) of the others.

    Raises:
      UnreadableImages: if more than `max_bad_share` of them are bad.
    """
    good = np.flatnonzero(checks.reasons == "")
    bad = np.flatnonzero(checks.reasons != "")
    skipped = [(one_line(names[i]), str(checks.reasons[i])) for i in bad]
    if len(bad) > max_bad_share * len(names) or not len(good):
        shown = "; ".join(
            f"{name}: {reason}" for name, reason in skipped[:_NAMES_SHOWN]
        )
        if max_bad_share >= 1:  # where a command has no such flag, too
            raise UnreadableImages(
                f"{one_line(uri)}: none of {len(names)} images can be read. "
                f"First: {shown}. Give other images.",
                skipped,
            )
        raise UnreadableImages(
            f"{one_line(uri)}: {len(bad)} of {len(names)} images cannot be "
            f"read, more than a share of {max_bad_share:g}. First: {shown}. "
            "Remove or replace them, or raise max_bad_share.",
            skipped,
        )
    return good, skipped


def read_npz(path, names):
    """Arrays of `path` by name; None if it is missing, damaged or another's."""
    try:
        with np.load(path) as stored:
            if stored["version"] != VERSION:
                return None
            return {name: stored[name] for name in names}
    except Exception:  # what a damaged archive raises is of a dozen classes
        return None


def write_npz(path, **arrays):
    """Writes arrays to `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as file:
        np.savez(file, version=np.array(VERSION), **arrays)


def _cache_path(root, cache_dir):
    where = os.fsencode(pathlib.Path(root).resolve())
    name = f"scan-{hashlib.sha256(where).hexdigest()[:16]}.npz"
    return folders.expanded(cache_dir) / name


def _read_cache(path):
    """`{mark: row of Checks}`; empty if there is no usable cache."""
    stored = path and read_npz(path, ["marks", "ends", *Checks._fields])
    checks = stored and checks_in(stored)
    if not checks:
        return {}
    words, ends = stored["marks"].tobytes(), stored["ends"]
    if (
        ends.shape != checks.heights.shape
        or ends.dtype != np.int64
        or (np.diff(ends, prepend=0) < 0).any()
        or ends[-1:].sum() != len(words)
    ):
        return {}
    ends = ends.tolist()
    marks = [
        os.fsdecode(words[start:end])
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    ]
    return dict(zip(marks, zip(*checks, strict=True), strict=True))


def checks_in(stored):
    """`Checks` from arrays by name; None if no check ever wrote such arrays."""
    checks = Checks(*(stored[name] for name in Checks._fields))
    if (
        _types(checks) != _types(as_checks([]))
        or len({column.shape for column in checks}) > 1
        or checks.heights.ndim != 1
    ):
        return None
    sizes = np.minimum(checks.heights, checks.widths)
    if (
        (sizes[checks.reasons == ""] < 1).any()
        or (checks.orientations < 1).any()
        or (checks.orientations > 8).any()
    ):
        return None
    return checks


def _types(checks):
    """The types of the columns; for text, whatever its width."""
    kinds = [column.dtype for column in checks]
    return [kind.type if kind.kind == "U" else kind for kind in kinds]


def _cached(known):
    """Arrays from what `_read_cache` returns.

    Marks are joined bytes: NumPy's text is as wide as the longest name.
    """
    marks = [os.fsencode(mark) for mark in known]
    return {
        "marks": np.frombuffer(b"".join(marks), np.uint8),
        "ends": np.cumsum([len(mark) for mark in marks], dtype=np.int64),
        **as_checks(list(known.values()))._asdict(),
    }
