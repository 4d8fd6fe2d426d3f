"""Folders that a command is told to write into, tried before the work."""

import pathlib
import tempfile


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
    folder = pathlib.Path(path).expanduser()
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
