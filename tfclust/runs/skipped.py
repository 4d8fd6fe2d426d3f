"""`workdir/skipped.txt`: images that a run left out, and why, one per line."""

import os

from tfclust.runs.folder import SKIPPED
from tfclust.runtime import files, folders, terminal

_LATER = "after the check"


def write(workdir, skipped, say=terminal.say, name=SKIPPED):
    """Lists what the check left out; failures of earlier runs are kept.

    Anything else that has the list's name is moved aside.

    Args:
      workdir: `pathlib.Path` of the run.
      skipped: list of (name, reason).
      say: called with a sentence if something is moved aside.
      name: str, the list's, where there is no run.

    Returns:
      Path of the list.
    """
    path = workdir / name
    before = _lines(path)
    if before is None:
        folders.set_aside(path, "it is not a list of images left out", say)
    kept = [line for line in before or [] if line.endswith(f"({_LATER})")]
    lines = [_line(*entry) for entry in skipped] + kept
    if not lines:
        path.unlink(missing_ok=True)
        return path
    files.write_text(path, "".join(f"{line}\n" for line in lines))
    return path


def add(workdir, name, reason):
    """Lists an image that could no longer be read; hosts may do so together."""
    with open(workdir / SKIPPED, "a", encoding="utf-8") as file:
        file.write(f"{_line(name, reason)} ({_LATER})\n")


def _line(name, reason):
    # A name may hold any character except a slash and a null character.
    return f"{terminal.one_line(name)}\t{terminal.one_line(reason)}"


def _lines(path):
    """The lines of a list; empty if there is none; None if it is not a list."""
    if not os.path.lexists(path):
        return []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (UnicodeDecodeError, IsADirectoryError):
        return None
    # The last line may have been cut off when its run was killed.
    *whole, _ = lines
    return whole if all(line.count("\t") == 1 for line in whole) else None
