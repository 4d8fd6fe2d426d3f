"""Folders named by integers, complete when they appear, never overwritten.

TF Serving loads a version as soon as its folder exists. So it is written to a
hidden sibling, flushed to the disk, and then renamed.
"""

import contextlib
import errno
import os
import pathlib
import re
import shutil
import tempfile

from tfclust.runtime import files, folders, locks

HIDDEN = ".writing-"
# As `tempfile` ends names, and what `fill` writes.
_OURS = re.compile(re.escape(HIDDEN) + r"[a-z0-9_]{8}")
_FILES = {
    "assets",
    "assets.extra",
    "fingerprint.pb",
    "model_card.json",
    "saved_model.pb",
    "variables",
}
_OF_DISK = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EROFS,
)

# What a version holds beside the SavedModel itself.
BACKBONE_FILE = pathlib.PurePath("assets.extra", "backbone.keras")
CARD_FILE = pathlib.PurePath("model_card.json")
# Names, sizes and exemplars of the run's clusters, if they are known.
CLUSTERS_FILE = pathlib.PurePath("assets.extra", "clusters.json")
# The largest image that it decodes by default: 8,192 x 8,192, which take 192
# MiB, and 1 GiB while alpha is put on white.
MAX_PIXELS = 1 << 26


def write_next(path, fill):
    """Writes the next version under `path`.

    Leftovers of exports that were killed are removed.

    Args:
      path: folder of the versions; made if necessary.
      fill: called with the hidden folder, writes all files into it. If it
        raises, nothing is kept.

    Returns:
      `pathlib.Path` of the version, `<path>/<integer>`.

    Raises:
      ValueError: if `path` is not a folder, or cannot be made or written to.
      DiskError: if the disk is full, or fails in another way.
    """
    path = folders.writable("output", path)
    hidden, lock = _begin(path)
    way_out = "Nothing of it was kept. Make room, or give another output."
    try:
        with folders.writing(f"the SavedModel in {path}", way_out):
            with _as_os_error():
                fill(hidden)
            # mkdtemp lets only the owner read; a server is often another user.
            hidden.chmod(0o755)
            _flush(hidden)
            return _publish(hidden, path)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def newest_version(path):
    """The SavedModel that `path` means: itself, or its largest version.

    Args:
      path: a version, or the folder of versions.

    Returns:
      `pathlib.Path` of the folder that holds `saved_model.pb`.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if the largest version has lost its graph.
    """
    path = folders.expanded(path)
    if is_saved_model(path):
        return path
    numbers = [n for n in version_numbers(path) if _is_version(path / str(n))]
    versions = [n for n in numbers if is_saved_model(path / str(n))]
    if not versions:
        raise FileNotFoundError(
            f"no SavedModel in {path}: expected saved_model.pb, or folders "
            "named by integers that hold it. Write one with tfclust.export."
        )
    if max(versions) < max(numbers):
        # An older one would be mistaken for the newest.
        newest = path / str(max(numbers))
        raise ValueError(
            f"{newest} is damaged: it has no saved_model.pb. Give another "
            f"version, such as {path / str(max(versions))}, or export again."
        )
    return path / str(max(versions))


def _begin(path):
    """A hidden folder, and the lock that says that it is being written."""
    # Others wait while it has no lock yet.
    beginning = locks.held(path, wait=True)
    try:
        if beginning is not None:
            _remove_leftovers(path)
        hidden = pathlib.Path(tempfile.mkdtemp(prefix=HIDDEN, dir=path))
        return hidden, locks.held(hidden)
    finally:
        if beginning is not None:
            os.close(beginning)


def _remove_leftovers(path):
    """Removes what no living process is writing; locks end with processes."""
    for entry in path.iterdir():
        if not _OURS.fullmatch(entry.name) or entry.is_symlink():
            continue
        with contextlib.suppress(OSError):  # another user's, or gone
            if not is_ours(entry):
                continue
            lock = locks.held(entry)
            if lock is not None:
                shutil.rmtree(entry)
                os.close(lock)


@contextlib.contextmanager
def _as_os_error():
    """A context that turns disk errors of TensorFlow and HDF5 into Python's."""
    import tensorflow as tf  # a path is checked without it

    try:
        yield
    except (tf.errors.OpError, RuntimeError) as error:
        for number in _OF_DISK:
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number)) from error
        raise


def is_saved_model(path):
    """Whether a folder holds the graph of a SavedModel."""
    return (path / "saved_model.pb").is_file()


def is_ours(path):
    """Whether a folder holds nothing but what an export writes."""
    return set(os.listdir(path)) <= _FILES


def _is_version(path):
    """Whether any part of a SavedModel is there."""
    return path.is_dir() and any((path / name).exists() for name in _FILES)


def version_numbers(path):
    """Integers that name an entry of `path`."""
    names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    return [int(name) for name in names if name.isascii() and name.isdigit()]


def _publish(hidden, path):
    """Gives the finished folder the next free integer as its name."""
    version = max(version_numbers(path), default=0) + 1
    while True:
        target = path / str(version)
        try:
            hidden.rename(target)
            break
        except OSError:
            # Another export took the number in between.
            if not target.exists():
                raise
            version += 1
    files.flush(path)
    return target


def _flush(folder):
    for root, _, names in os.walk(folder):
        for name in names:
            files.flush(os.path.join(root, name))
        files.flush(root)
