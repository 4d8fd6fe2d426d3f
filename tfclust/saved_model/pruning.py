"""Removes old versions, never one that a server is told to load."""

import contextlib
import os
import shutil
import tempfile

from tfclust.runtime import files, locks, terminal
from tfclust.saved_model import labels
from tfclust.saved_model.versions import (
    HIDDEN,
    is_ours,
    is_saved_model,
    version_numbers,
)


def prune(folder, keep):
    """Removes all but the newest versions of `folder`.

    A version that models.config names, by a label or by its number, stays, and
    so does a folder with files that no export wrote.

    Args:
      folder: `pathlib.Path` of the versions. keep: int, at least 1.

    Returns:
      list of int, the versions that are gone.

    Raises:
      ValueError: if `keep` is below 1.
    """
    if keep < 1:
        raise ValueError(
            "keep_versions must be at least 1: the newest one stays. Received: "
            f"keep_versions={keep}."
        )
    # One export prunes at a time, and none while another begins.
    lock = locks.held(folder, wait=True)
    try:
        return _pruned(folder, keep)
    finally:
        if lock is not None:
            os.close(lock)


def _pruned(folder, keep):
    numbers = sorted(
        n for n in version_numbers(folder) if is_saved_model(folder / str(n))
    )
    try:
        named = labels.read(folder).named()
    except ValueError as error:
        terminal.say(f"No version was removed: {error}")
        return []
    gone = []
    for number in numbers[:-keep]:
        version = folder / str(number)
        if number in named:
            terminal.say(f"Kept: {version}: models.config names it.")
            continue
        # Without locks, another export may have removed it.
        with contextlib.suppress(FileNotFoundError):
            if is_ours(version):
                _remove(version)
                gone.append(number)
            else:
                terminal.say(f"Kept: {version}: it has files of somebody else.")
    return gone


def _remove(version):
    """Hides it first: a server must never see a part of it.

    The next export removes what is hidden, should this one be killed.
    """
    hidden = tempfile.mkdtemp(prefix=HIDDEN, dir=version.parent)
    try:
        os.rename(version, hidden)  # onto an empty folder
    except FileNotFoundError:
        os.rmdir(hidden)
        raise
    files.flush(version.parent)
    shutil.rmtree(hidden)
