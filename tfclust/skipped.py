"""`workdir/skipped.txt`: images that a run left out, and why, a line each."""

import os

from tfclust.data import scan
from tfclust.terminal import one_line

FILE = "skipped.txt"
_LATER = "after the check"


def write(workdir, skipped):
    """Lists what the check left out; failures of earlier runs stay.

    Args:
      workdir: `pathlib.Path` of the run.
      skipped: list of (name, reason).

    Returns:
      Path of the list.
    """
    path = workdir / FILE
    kept = [line for line in _lines(path) if line.endswith(f"({_LATER})")]
    lines = [_line(*entry) for entry in skipped] + kept
    if not lines:
        path.unlink(missing_ok=True)
        return path
    partial = scan.unique_partial(path)
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    os.replace(partial, path)
    return path


def add(workdir, name, reason):
    """Lists an image that could no longer be read; hosts may do so at once."""
    with open(workdir / FILE, "a", encoding="utf-8") as file:
        file.write(f"{_line(name, reason)} ({_LATER})\n")


def _line(name, reason):
    # A name may hold any character but a slash and a zero.
    name = one_line(name).replace("\n", "\\n").replace("\t", "\\t")
    return f"{name}\t{reason}"


def _lines(path):
    if not path.is_file():
        return []
    return path.read_text(encoding="utf-8").splitlines()
