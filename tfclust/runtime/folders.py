"""Folders that a command writes into: tried before, and errors in sentences."""

import contextlib
import itertools
import os
import pathlib
import tempfile

from tfclust.runtime import terminal


class DiskError(RuntimeError):
    """The disk is full or failing; a sentence to the user."""


def expanded(path):
    """`path` with `~` as the home folder.

    Raises:
      ValueError: if it starts with the home of an unknown user.
    """
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(
            "a path may start with ~ or with ~ and the name of a user. "
            f"Received: {terminal.one_line(path)}: no such user. Write out the "
            "home folder."
        ) from error


def writable(argument, path, given=None):
    """Makes `path` if it is missing, and tries to write there.

    Args:
      argument: str, the argument that gave it, such as "workdir".
      path: of the folder; `~` stands for the home folder.
      given: what the user wrote, if that is not the folder itself.

    Returns:
      `pathlib.Path` of the folder.

    Raises:
      ValueError: if it is not a folder, or cannot be made or written to.
    """
    folder = expanded(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        what = "a folder" if given is None else "in a folder"
        raise ValueError(
            f"{argument} must be {what} that can be written to. Received: "
            f"{argument}={path if given is None else given}: "
            f"{error.strerror}. Give another path."
        ) from error
    return folder


def writable_file(argument, path):
    """The Path of a file to write; its folder is made if missing, and tried.

    Args:
      argument: str, the argument that gave it, such as "output".
      path: as the user gave it, or as it follows from that.

    Raises:
      ValueError: if it is a folder, or its folder cannot be written to.
    """
    file = expanded(path)
    if file.is_dir():
        raise ValueError(
            f"{argument} must be a file. Received: the folder {file}. Move it "
            "away, or give another path."
        )
    writable(argument, file.parent, given=path)
    return file


def set_aside(path, why, say=terminal.say):
    """Renames what is in the way to a name beside it; nothing is lost.

    Args:
      path: `pathlib.Path` of a file, folder or link.
      why: str, for the sentence.
      say: called with a sentence that has the old and the new name.

    Returns:
      `pathlib.Path` of the new place.
    """
    for number in itertools.count(1):
        ending = ".aside" if number == 1 else f".aside-{number}"
        target = path.with_name(path.name + ending)
        if not os.path.lexists(target):
            path.rename(target)
            say(f"Moved aside: {path} is now {target.name}: {why}.")
            return target


@contextlib.contextmanager
def writing(what, way_out):
    """A context that turns a failed write into one sentence.

    Args:
      what: str, what could not be written, with its place.
      way_out: str, sentences on what is left and what to do.

    Raises:
      DiskError: if the disk is full, or fails in another way.
    """
    try:
        yield
    except Exception as error:
        refusal = _refusal(error)
        if refusal is None:
            raise
        raise DiskError(
            f"{what} could not be written: {refusal}. {way_out}"
        ) from error


def _refusal(error):
    """What the system said, behind an exception, or None.

    A file that is closed on the way fails again with its own message, which
    hides the first.
    """
    while error is not None:
        if isinstance(error, OSError):
            return error.strerror or str(error)
        error = error.__cause__ or error.__context__
    return None
