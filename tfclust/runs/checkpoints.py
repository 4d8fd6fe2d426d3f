"""A run's exact state on disk: a folder per step, complete or not there at all.

`<workdir>/checkpoints/<step>/` holds `arrays.npz`, a flat map of explicit names
to arrays, uncompressed, and `manifest.json` with each array's shape, type and
SHA-256, and a SHA-256 of all that. It is written to a hidden sibling, flushed
to the disk, and renamed; so a run that is killed while it saves resumes from
the checkpoint before.
"""

import json
import os
import pathlib
import re
import shutil
import zipfile

import numpy as np

from tfclust.runs.checkpoint_reading import (
    ARRAYS,
    FORMAT,
    MANIFEST,
    Checkpoint,
    DamagedCheckpoint,
    UnreadableCheckpoint,
    digest,
    load,
    telling,
)
from tfclust.runs.checkpoint_reading import entry as _entry
from tfclust.runs.folder import CHECKPOINTS
from tfclust.runtime import files, folders, terminal

__all__ = [
    "Checkpoint",
    "DamagedCheckpoint",
    "UnreadableCheckpoint",
    "latest",
    "load",
    "save",
    "set_aside",
]

_NUMBERS = "biuf"  # kinds of NumPy types that are stored without pickling
_NAME = re.compile(r"[0-9]{10,}")
_PARTIAL = re.compile(r"\.[0-9]{10,}\.partial")


def save(workdir, step, arrays, *, about=None, keep=2, say=terminal.say):
    """Writes a checkpoint, and removes the run's older ones except the newest.

    Anything else in its place, or of a later step, is moved aside. What may be
    intact is removed only if it is older than the new checkpoint, and what no
    run has written is never removed.

    Args:
      workdir: the run's folder.
      step: int, optimizer steps done.
      arrays: `{name: array}` of numbers or booleans.
      about: JSON-serialisable: the recipe, the data.
      keep: int >= 1, checkpoints to keep, including this one.
      say: called with a sentence for each that is moved aside.

    Returns:
      `pathlib.Path` of the checkpoint.

    Raises:
      ValueError: if an array holds anything but numbers.
      DiskError: if the disk is full; older checkpoints are unchanged.
    """
    with folders.writing(*_told(workdir, step)):
        target = _write(_folder(workdir), step, arrays, about or {}, say)
    others = [path for path in _newest_first(workdir) if path != target]
    newer = [path for path in others if int(path.name) >= step]
    for path in newer:
        folders.set_aside(path, "the run resumed from an earlier step", say)
    for path in others[len(newer) + max(1, keep) - 1 :]:
        _remove(path, say)
    return target


def latest(workdir, *, say=terminal.say, start_anew=False):
    """The newest complete checkpoint of a run, or None if it has saved none.

    Args:
      workdir: the run's folder.
      say: called with a sentence for each damaged or half-written one.
      start_anew: whether to return None also if all are damaged.

    Raises:
      DamagedCheckpoint: if there are checkpoints, and all are damaged.
      UnreadableCheckpoint: if the newest that is not damaged cannot be read
        now.
    """
    for leftover in _leftovers(_folder(workdir)):
        say(f"Left out: {leftover} was being written when its run ended.")
    damaged = 0
    for path in _newest_first(workdir):
        try:
            return load(path)
        except DamagedCheckpoint as error:
            if not os.path.lexists(path):  # its run, still training, did it
                return latest(workdir, say=say, start_anew=start_anew)
            say(f"Left out: damaged checkpoint. {error}")
            damaged += 1
    if damaged and not start_anew:
        raise DamagedCheckpoint(
            f"workdir={workdir} holds only damaged checkpoints: {damaged}, the "
            f"newest {_newest_first(workdir)[0]}. Restore one from a copy; or "
            "train with --start_anew, which moves them aside and starts at "
            "step 0."
        )
    return None


def set_aside(workdir, why, say=terminal.say):
    """Moves all checkpoints of a run aside.

    Args:
      workdir: the run's folder.
      why: str, for the sentence on each.
      say: called with the sentences.
    """
    for path in _newest_first(workdir):
        folders.set_aside(path, why, say)


def _told(workdir, step):
    """For a full disk: what could not be saved, and what is left."""
    steps = [int(path.name) for path in _newest_first(workdir)]
    before = max((other for other in steps if other < step), default=None)
    kept = "none" if before is None else f"step {before:,}"
    return f"the checkpoint of step {step:,} in {workdir}", (
        f"Last good checkpoint: {kept}. Make room, and the same command "
        "resumes from there; --keep_checkpoints=1 needs the least."
    )


def _write(folder, step, arrays, about, say):
    """Writes a checkpoint whole or not at all; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{step:010d}"
    partial = folder / f".{target.name}.partial"
    for leftover in _leftovers(folder):
        shutil.rmtree(leftover)
    if os.path.lexists(partial):
        folders.set_aside(partial, "no run has written it", say)
    try:
        partial.mkdir()
        entries = _write_arrays(partial / ARRAYS, arrays)
        _write_manifest(partial / MANIFEST, step, entries, about)
        _flush(partial)
        if os.path.lexists(target):
            folders.set_aside(target, "its step is saved again", say)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    files.flush(folder)
    return target


def _remove(path, say):
    if not _is_a_runs(path):
        folders.set_aside(path, "it holds what no run has written", say)
        return
    try:
        shutil.rmtree(path)
    except OSError as error:  # not a reason to end a run that has just saved
        say(f"{path} could not be removed: {error.strerror}.")


def _is_a_runs(path):
    """Whether it is a folder with only the files of a checkpoint."""
    if path.is_symlink() or not path.is_dir():
        return False
    try:
        names = {one.name for one in path.iterdir() if one.is_file()}
        return names == set(os.listdir(path)) and names <= {ARRAYS, MANIFEST}
    except OSError:
        return False


def _folder(workdir):
    return pathlib.Path(workdir) / CHECKPOINTS


def _newest_first(workdir):
    """Entries with a checkpoint's name, the newest first."""
    found = [p for p in _listed(_folder(workdir)) if _NAME.fullmatch(p.name)]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def _leftovers(folder):
    """Checkpoints that were being written when their run was killed."""
    return [
        path
        for path in sorted(_listed(folder))
        if _PARTIAL.fullmatch(path.name) and _is_a_runs(path)
    ]


def _listed(folder):
    """The entries of the folder of checkpoints; none if there is no folder."""
    with telling(folder):
        try:
            return list(folder.iterdir())
        except FileNotFoundError:
            if folder.is_symlink():
                raise  # its disk is gone
            return []
        except NotADirectoryError as error:
            if not os.path.lexists(folder):
                return []  # its parent is a file
            raise ValueError(
                f"{folder} must be a folder of a run's checkpoints. Received: "
                "a file. Move it away, or give another workdir."
            ) from error


def _write_arrays(path, arrays):
    """Writes the arrays; returns their entries for the manifest."""
    entries = {}
    # Like numpy.savez, which does not allow an array called "file".
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


def _write_manifest(path, step, entries, about):
    body = {"step": int(step), "about": about, "arrays": entries}
    manifest = {"format": FORMAT, **body, "sha256": digest(body)}
    words = json.dumps(manifest, indent=1, ensure_ascii=False)
    path.write_text(words + "\n", encoding="utf-8")


def _flush(folder):
    """Waits until the folder's files, and the folder, are on the disk."""
    for path in folder.iterdir():
        if path.is_file():
            files.flush(path)
    files.flush(folder)
