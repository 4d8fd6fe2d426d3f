"""Folders that a command is told to write into: tried before, told of after."""

import contextlib
import itertools
import os
import pathlib
import tempfile

from tfclust.runtime import terminal


class DiskError(RuntimeError):
    """The disk took no more, or gave up; a sentence to the user."""


def expanded(path):
    """`path` with `~` as the home folder.

    Raises:
      ValueError: if it begins with the home of somebody unknown.
    """
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(
            "a path may begin with ~ or with ~ and the name of a user. "
            f"Received: {path}: no such user. Write the home folder out."
        ) from error


def writable(argument, path, given=None):
    """Makes `path` where it is missing, and tries to write there.

    Args:
      argument: str, what the user gave it as, such as "workdir".
      path: of the folder; `~` stands for the home folder.
      given: what the user wrote, where that is not the folder itself.

    Returns:
      `pathlib.Path` of the folder.

    Raises:
      ValueError: if it is no folder, or cannot be made or written.
    """
    folder = expanded(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        what = "a folder" if given is None else "in a folder"
        raise ValueError(
            f"{argument} must be {what} that can be written. Received: "
            f"{argument}={path if given is None else given}: "
            f"{error.strerror}. Give another path."
        ) from error
    return folder


def set_aside(path, why, say=terminal.say):
    """Gives what stands in the way another name beside it; nothing is lost.

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
    """Turns a write that the disk refuses into one sentence.

    Args:
      what: str, what could not be written then, with its place.
      way_out: str, sentences on what is left and what to do.

    Raises:
      DiskError: if the disk is full, or fails otherwise.
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
    """What the system said behind an exception, or None.

    A file that is closed on the way fails again in its own words, which hide
    the first.
    """
    while error is not None:
        if isinstance(error, OSError):
            return error.strerror or str(error)
        error = error.__cause__ or error.__context__
    return None
