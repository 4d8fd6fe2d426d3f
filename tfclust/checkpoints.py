"""A run's exact state on disk: a folder a step, complete or not there at all.

`<workdir>/checkpoints/<step>/` holds `arrays.npz`, a flat map of explicit names
to arrays, uncompressed, and `manifest.json` with each array's shape, type and
SHA-256, and a SHA-256 of all that. It is written to a hidden sibling, flushed
to the disk, and renamed; so a run that is killed while it saves goes on from
the checkpoint before.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import zipfile
from typing import NamedTuple

import numpy as np

from tfclust import folders

ARRAYS, MANIFEST = "arrays.npz", "manifest.json"
_FORMAT = 3
_NUMBERS = "biuf"  # kinds of NumPy types that a file keeps without pickling


class DamagedCheckpoint(ValueError):
    """What lies there is no complete checkpoint."""


class BusyError(RuntimeError):
    """Another run holds the workdir."""


class Checkpoint(NamedTuple):
    """A loaded checkpoint: `arrays` by name, and what was told of the run."""

    path: pathlib.Path
    step: int
    arrays: dict
    about: dict


def save(workdir, step, arrays, *, about=None, keep=2):
    """Writes a checkpoint, and removes all but the newest `keep`.

    Args:
      workdir: the run's folder.
      step: int, optimizer steps done.
      arrays: `{name: array}` of numbers or booleans.
      about: what `json` can write: the recipe, the data.
      keep: int >= 1, complete checkpoints to leave.

    Returns:
      `pathlib.Path` of the checkpoint.

    Raises:
      ValueError: if an array holds something else than numbers.
      DiskError: if the disk is full; older checkpoints are as they were.
    """
    with folders.writing(*_told(workdir, step)):
        target = _write(_folder(workdir), step, arrays, about or {})
    others = [path for path in _newest_first(workdir) if path != target]
    # Newer ones are damaged: `latest` passed over them before this run began.
    newer = [path for path in others if int(path.name) > step]
    for path in newer + others[len(newer) + max(1, keep) - 1 :]:
        shutil.rmtree(path)
    return target


def load(path):
    """Reads a checkpoint and checks every array.

    Args:
      path: folder of the checkpoint.

    Returns:
      `Checkpoint`.

    Raises:
      DamagedCheckpoint: if a file is missing, cut off or changed, or the names
        in the two files differ.
    """
    path = pathlib.Path(path)
    manifest = _read_manifest(path)
    entries = manifest["arrays"]
    try:
        with np.load(path / ARRAYS, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # of a damaged archive they are of many classes
        raise DamagedCheckpoint(f"{path / ARRAYS}: {error}") from error
    missing = sorted(set(entries) - set(arrays))
    unexpected = sorted(set(arrays) - set(entries))
    if missing or unexpected:
        raise DamagedCheckpoint(
            f"{path}: the manifest and the arrays must have the same names. "
            f"Missing: {missing or 'none'}, unexpected: {unexpected or 'none'}."
        )
    for name, array in arrays.items():
        if _entry(array) != entries[name]:
            raise DamagedCheckpoint(
                f"{path}: {name} is not what the manifest says."
            )
    return Checkpoint(path, manifest["step"], arrays, manifest["about"])


def latest(workdir, *, say=print):
    """The newest complete checkpoint of a run, or None.

    Args:
      workdir: the run's folder.
      say: called with a sentence for each damaged or half-written one.
    """
    for leftover in sorted(_folder(workdir).glob(".*.partial")):
        say(f"Left out: {leftover} was being written when its run ended.")
    for path in _newest_first(workdir):
        try:
            return load(path)
        except DamagedCheckpoint as error:
            say(f"Left out: damaged checkpoint. {error}")
    return None


@contextlib.contextmanager
def lock(workdir, *, really=True):
    """Holds a run's folder against a second run; made if need be.

    The lock ends with the process, however it ends.

    Args:
      workdir: the run's folder.
      really: False on the hosts that help the one that holds it.

    Raises:
      BusyError: if another process holds it.
      ValueError: if it cannot be made or written.
    """
    if not really:
        yield
        return
    workdir = folders.writable("workdir", workdir)
    with open(workdir / ".lock", "a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some network file systems know no locks: then there is none.
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise _busy(workdir, file) from error
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _busy(workdir, file):
    file.seek(0)
    process = file.read().strip() or "unknown"
    return BusyError(
        f"workdir={workdir} is in use: another run (process {process}) trains "
        "there. Wait for it, or give another workdir."
    )


def _told(workdir, step):
    """For a disk that takes no more: what is lost, and what is left."""
    before = next(iter(_newest_first(workdir)), None)
    kept = f"step {int(before.name):,}" if before else "none"
    return f"the checkpoint of step {step:,} in {workdir}", (
        f"Last good checkpoint: {kept}. Make room, and the same command goes "
        "on from there; --keep_checkpoints=1 needs the least."
    )


def _write(folder, step, arrays, about):
    """Writes a checkpoint whole or not at all; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{step:010d}"
    partial = folder / f".{target.name}.partial"
    for leftover in folder.glob(".*.partial"):
        shutil.rmtree(leftover)
    try:
        partial.mkdir()
        entries = _write_arrays(partial / ARRAYS, arrays)
        _write_manifest(partial / MANIFEST, step, entries, about)
        _flush(partial)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _flush(folder)
    return target


def _folder(workdir):
    return pathlib.Path(workdir) / "checkpoints"


def _newest_first(workdir):
    """Checkpoints that have been given their name."""
    paths = [p for p in _folder(workdir).glob("[0-9]*") if p.name.isdigit()]
    return sorted(paths, key=lambda path: int(path.name), reverse=True)


def _write_arrays(path, arrays):
    """Writes the arrays; returns their entries for the manifest."""
    entries = {}
    # As numpy.savez, which lets no array be called "file".
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, value in arrays.items():
            array = np.asarray(value)
            if array.dtype.kind not in _NUMBERS:
                raise ValueError(
                    "a checkpoint keeps numbers and booleans. Received: "
                    f"{name} of type {array.dtype}."
                )
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
            entries[name] = _entry(array)
    return entries


def _entry(array):
    digest = hashlib.sha256(np.ascontiguousarray(array).data)
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "sha256": digest.hexdigest(),
    }


def _write_manifest(path, step, entries, about):
    body = {"step": int(step), "about": about, "arrays": entries}
    manifest = {"format": _FORMAT, **body, "sha256": _digest(body)}
    words = json.dumps(manifest, indent=1, ensure_ascii=False)
    path.write_text(words + "\n", encoding="utf-8")


def _digest(body):
    """Of what the manifest says, whatever the way it is written."""
    words = json.dumps(body, sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()


def _read_manifest(path):
    try:
        words = (path / MANIFEST).read_text(encoding="utf-8")
        manifest = json.loads(words)
        if manifest["format"] != _FORMAT:
            raise DamagedCheckpoint(
                f"{path} has format {manifest['format']}; this version reads "
                f"format {_FORMAT}."
            )
        body = {key: manifest[key] for key in ("step", "about", "arrays")}
        if manifest["sha256"] != _digest(body):
            raise DamagedCheckpoint(f"{path / MANIFEST} was changed.")
        return body
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, DamagedCheckpoint):
            raise
        raise DamagedCheckpoint(f"{path / MANIFEST}: {error!r}") from error


def _flush(folder):
    """Waits until the folder's files, and the folder, are on the disk."""
    files = [path for path in folder.iterdir() if path.is_file()]
    for path in [*files, folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
