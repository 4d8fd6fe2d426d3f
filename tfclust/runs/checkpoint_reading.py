"""Reads checkpoints, and tells damaged ones from those unreadable just now.

Damage is proven by a missing or truncated file, or digests that differ.
Anything else, such as another format, no permission, a failing disk or too
little memory, says nothing against the checkpoint, which must then be kept.
"""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import stat
import zipfile
from typing import NamedTuple

import numpy as np

from tfclust.runtime.checkpoint_names import ARRAYS, MANIFEST

FORMAT = 4


class DamagedCheckpoint(ValueError):
    """What is there is not a complete checkpoint."""


class UnreadableCheckpoint(RuntimeError):
    """What is there may be a complete checkpoint, but cannot be read now."""


class Checkpoint(NamedTuple):
    """A loaded checkpoint: `arrays` by name, and what it says about the run."""

    path: pathlib.Path
    step: int
    arrays: dict
    about: dict


def load(path):
    """Reads a checkpoint and checks every array.

    Args:
      path: folder of the checkpoint.

    Returns:
      `Checkpoint`.

    Raises:
      DamagedCheckpoint: if a file is missing, truncated or changed, or the
        names in the two files differ.
      UnreadableCheckpoint: if it has another format, or the system cannot read
        it now.
    """
    path = pathlib.Path(path)
    with telling(path):
        body = _read_manifest(path)
        arrays = _read_arrays(path / ARRAYS, body["arrays"])
    return Checkpoint(path, body["step"], arrays, body["about"])


def read_about(path):
    """What a checkpoint says about its run, dict; reads no array.

    Args:
      path: folder of the checkpoint.

    Raises:
      DamagedCheckpoint, UnreadableCheckpoint: as `load`.
    """
    path = pathlib.Path(path)
    with telling(path):
        return _read_manifest(path)["about"]


@contextlib.contextmanager
def telling(path):
    """A context that turns the system's refusals into a sentence.

    Raises:
      UnreadableCheckpoint: for an `OSError` or a `MemoryError`.
    """
    try:
        yield
    except MemoryError as error:
        raise _unreadable(path, "memory is short") from error
    except OSError as error:
        raise _unreadable(path, error.strerror or error) from error


def entry(array):
    """What the manifest says about an array."""
    digest = hashlib.sha256(np.ascontiguousarray(array).data)
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "sha256": digest.hexdigest(),
    }


def digest(body):
    """The digest of a manifest's contents, however they are formatted."""
    words = json.dumps(body, sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()


def _unreadable(path, reason):
    return UnreadableCheckpoint(
        f"{path} cannot be read now: {reason}. It may be intact, so it was "
        "left as it is and no new run replaces it. Solve the problem and start "
        "the same command again, or give another workdir."
    )


def _read_manifest(path):
    words = _opened(path / MANIFEST, lambda file: file.read())
    try:
        manifest = json.loads(words.decode("utf-8"))
        format_ = manifest["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedCheckpoint(f"{path / MANIFEST}: {error!r}") from error
    if format_ != FORMAT:
        raise _unreadable(
            path,
            f"it has format {format_}, of another version of tfclust; this one "
            f"reads format {FORMAT}",
        )
    try:
        body = {key: manifest[key] for key in ("step", "about", "arrays")}
        changed = manifest["sha256"] != digest(body)
    except (KeyError, RecursionError) as error:
        raise DamagedCheckpoint(f"{path / MANIFEST}: {error!r}") from error
    if changed:
        raise DamagedCheckpoint(f"{path / MANIFEST} was changed.")
    return body


def _read_arrays(path, entries):
    def read(file):
        try:
            return _arrays(file, entries)
        except MemoryError:
            raise
        except OSError as error:
            if error.errno != errno.EINVAL:  # a position before the start
                raise
            raise DamagedCheckpoint(f"{path}: {error}") from error
        except Exception as error:  # damaged archives raise many classes
            raise DamagedCheckpoint(f"{path}: {error}") from error

    return _opened(path, read)


def _arrays(file, entries):
    """The arrays of an archive, which must be those of the manifest."""
    arrays = {}
    with zipfile.ZipFile(file) as archive:
        names = {name.removesuffix(".npy") for name in archive.namelist()}
        missing = sorted(set(entries) - names)
        unexpected = sorted(names - set(entries))
        if missing or unexpected:
            raise ValueError(
                "the manifest and the arrays must have the same names. "
                f"Missing: {missing or 'none'}, unexpected: "
                f"{unexpected or 'none'}."
            )
        for name, expected in entries.items():
            with archive.open(f"{name}.npy") as data:
                np.lib.format.read_magic(data)
                # The version that NumPy writes for numbers.
                shape, _, dtype = np.lib.format.read_array_header_1_0(data)
                same = list(shape) == expected["shape"]
                if same and dtype.name == expected["dtype"]:
                    # Only now: a damaged shape may ask for too much memory.
                    data.seek(0)
                    array = np.lib.format.read_array(data, allow_pickle=False)
                    same = entry(array) == expected
                else:
                    same = False
            if not same:
                raise ValueError(f"{name} differs from the manifest.")
            arrays[name] = array
    return arrays


def _opened(path, read):
    """The result of `read` for a file; a missing file counts as damage."""
    folder = path.parent
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DamagedCheckpoint(f"{path} is not a file.")
        with open(path, "rb") as file:
            return read(file)
    except FileNotFoundError as error:
        if folder.is_symlink() and not folder.exists():
            raise  # its disk is gone
        raise DamagedCheckpoint(f"{path} is missing.") from error
    except NotADirectoryError as error:
        raise DamagedCheckpoint(f"{folder} is not a folder.") from error
