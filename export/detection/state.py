"""A training run on the disk: one file a checkpoint, whole or not there.

`<workdir>/checkpoints/<step>.npz` holds every variable by its number and path,
and `about`, a JSON text: the step, the configuration and the data.
"""

import contextlib
import json
import pathlib
import re
import signal
import zipfile
import zlib

import numpy as np

from tfclust.runtime import files, folders, terminal

_FOLDER = "checkpoints"
_NAME = re.compile(r"([0-9]{8,})\.npz")
_ABOUT = "about"
_KEPT = 2


def save(workdir, step, variables, about):
    """Writes a checkpoint, and removes all older ones but one.

    Args:
      workdir: `pathlib.Path`. step: int.
      variables: list of variables of TensorFlow or Keras.
      about: JSON-serialisable dict.

    Raises:
      DiskError: if the disk is full; older checkpoints are unchanged.
    """
    folder = workdir / _FOLDER
    way_out = "Make room, and the same command resumes from the one before."
    with folders.writing(f"the checkpoint of step {step:,}", way_out):
        folder.mkdir(exist_ok=True)
        arrays: dict = {
            name: np.asarray(variable.numpy())
            for name, variable in _named(variables).items()
        }
        words = json.dumps({**about, "step": step})
        with files.replacing(folder / f"{step:08d}.npz") as file:
            np.savez(file, **(arrays | {_ABOUT: np.array(words)}))
        files.flush(folder)
    for old in _newest_first(workdir):
        if int(old.stem) < step and old not in _newest_first(workdir)[:_KEPT]:
            old.unlink(missing_ok=True)


def newest(workdir, say=terminal.say):
    """(about, arrays) of the newest whole checkpoint; None if there is none.

    Raises:
      ValueError: if there are checkpoints and all are damaged.
    """
    found = _newest_first(workdir)
    for path in found:
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            about = json.loads(str(arrays.pop(_ABOUT)))
            return about, arrays
        except (
            zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError
        ) as error:  # fmt: skip
            say(f"Left out: damaged checkpoint {path}: {error}.")
    if found:
        raise ValueError(
            f"workdir={workdir} holds only damaged checkpoints: {len(found)}. "
            "Give another workdir, or remove its checkpoints/ to start anew."
        )
    return None


def restore(variables, arrays):
    """Gives variables the values of a checkpoint.

    Raises:
      ValueError: if they are not the same variables.
    """
    named = _named(variables)
    strange = sorted(named.keys() ^ arrays.keys())
    strange += sorted(
        name
        for name in named.keys() & arrays.keys()
        if tuple(named[name].shape) != arrays[name].shape
    )
    if strange:
        raise ValueError(
            "the checkpoint must have the variables of the detector. Received: "
            f"{len(strange)} that differ, the first {strange[0]}. Give another "
            "workdir."
        )
    for name, variable in named.items():
        variable.assign(arrays[name])


def refuse_changes(before, now, free):
    """Refuses to go on with another configuration or other data.

    Args:
      before, now: dicts of JSON values.
      free: names that may differ.

    Raises:
      ValueError: with the first value that differs.
    """
    now = json.loads(json.dumps(now))
    for name in sorted(before.keys() | now.keys()):
        if name not in free and before.get(name) != now.get(name):
            raise ValueError(
                f"workdir holds a run with {name}={before.get(name)}. "
                f"Received: {name}={now.get(name)}. Give another workdir, or "
                "the same value."
            )


@contextlib.contextmanager
def asked_to_stop():
    """A context that notes Ctrl-C and SIGTERM; the second ends at once.

    Yields:
      A function without arguments: whether one came.
    """
    asked: list = []

    def note(number, frame):
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        terminal.say("Stopping after this step.")

    before = {
        number: signal.signal(number, note)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _named(variables):
    """`{number and path: variable}`; paths alone may repeat."""
    names = [getattr(v, "path", getattr(v, "name", "")) for v in variables]
    return {
        f"{number:04d}_{name.replace('/', '.')}": variable
        for number, (name, variable) in enumerate(
            zip(names, variables, strict=True)
        )
    }


def _newest_first(workdir):
    folder = pathlib.Path(workdir) / _FOLDER
    names = folder.iterdir() if folder.is_dir() else []
    found = [path for path in names if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.stem), reverse=True)
