"""Folders named by integers, complete when they appear, never overwritten.

TF Serving loads a version as soon as its folder is there. So it is written to
a hidden sibling, flushed to the disk, and then renamed.
"""

import os
import pathlib
import shutil
import tempfile

from tfclust import folders

# What a version holds beside the SavedModel itself.
BACKBONE_FILE = pathlib.PurePath("assets.extra", "backbone.keras")
CARD_FILE = pathlib.PurePath("model_card.json")


def write_next(path, fill):
    """Writes the next version under `path`.

    Args:
      path: folder of the versions; made if need be.
      fill: called with the hidden folder, writes all files into it. If it
        raises, nothing stays.

    Returns:
      `pathlib.Path` of the version, `<path>/<integer>`.

    Raises:
      ValueError: if `path` is no folder, or cannot be made or written.
    """
    path = folders.writable("output", path)
    hidden = pathlib.Path(tempfile.mkdtemp(prefix=".writing-", dir=path))
    try:
        fill(hidden)
        # mkdtemp lets the owner alone read; a server is often someone else.
        hidden.chmod(0o755)
        _flush(hidden)
        return _publish(hidden, path)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise


def newest_version(path):
    """The SavedModel that `path` means: itself, or its largest version.

    Args:
      path: a version, or the folder of versions.

    Returns:
      `pathlib.Path` of the folder that holds `saved_model.pb`.

    Raises:
      FileNotFoundError: if there is none.
    """
    path = pathlib.Path(path).expanduser()
    if _is_saved_model(path):
        return path
    versions = [n for n in _versions(path) if _is_saved_model(path / str(n))]
    if not versions:
        raise FileNotFoundError(
            f"no SavedModel in {path}: expected saved_model.pb, or folders "
            "named by integers that hold it. Write one with tfclust.export."
        )
    return path / str(max(versions))


def _is_saved_model(path):
    return (path / "saved_model.pb").is_file()


def _versions(path):
    """Integers that name an entry of `path`."""
    names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    return [int(name) for name in names if name.isascii() and name.isdigit()]


def _publish(hidden, path):
    """Gives the finished folder the next free integer as its name."""
    version = max(_versions(path), default=0) + 1
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
    _flush_entry(path)
    return target


def _flush(folder):
    for root, _, files in os.walk(folder):
        for name in files:
            _flush_entry(os.path.join(root, name))
        _flush_entry(root)


def _flush_entry(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
