"""The file of an evaluation's figures, and what it leaves if it ends early."""

import contextlib
import json

from tfclust.runs import folder
from tfclust.runtime import files, folders


def path_of(command):
    """Where the figures are written, or None; refuses bad paths.

    The folder is made if it is missing, and tried.

    Args:
      command: `tfclust.evaluate.EvaluateConfig`.
    """
    if command.output:
        path = folders.expanded(command.output)
    elif command.workdir:
        workdir = folders.expanded(command.workdir)
        path = workdir / folder.EVALUATION
    else:
        return None
    if path.is_dir():
        raise ValueError(
            f"output must be a file. Received: the folder {path}. Try "
            f"{path / folder.EVALUATION}."
        )
    folders.writable("output", path.parent, given=path)
    return path


def write_json(path, results):
    """Writes `results` to `path`, as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    way_out = "An older file is unchanged. Make room, or give another output."
    words = json.dumps(results, indent=2) + "\n"
    with folders.writing(f"the figures in {path}", way_out):
        files.write_text(path, words)


@contextlib.contextmanager
def so_far(path, say=None, done=None):
    """Keeps the figures of each protocol in a file until all are there.

    Hours of figures would be lost to one that fails last.

    Args:
      path: `pathlib.Path` of the whole figures, or None to keep nothing.
      say: called with a sentence on where they are if it ends early, or None.
      done: called likewise; or None.

    Yields:
      A function for `done` of `evaluation.evaluate`.
    """
    results: dict = {}
    place = path and path.with_name(f"{path.stem}_{folder.SO_FAR}")

    def add(name, protocol, subject, figures):
        results.setdefault(name, {})[protocol] = figures
        if place is not None:
            write_json(place, results)
        if done is not None:
            done(name, protocol, subject, figures)

    try:
        yield add
    except BaseException:
        if results and place is not None and say is not None:
            say(f"The figures until then are in {place}.")
        raise
    if place is not None:
        place.unlink(missing_ok=True)
