"""Features on disk, found again by their content.

A file's name is the digest of all that its rows depend on: the network's
weights and layers, the bytes of every image, and how images are cut. So a file
is never out of date; one that no evaluation asks for any more is the first to
be removed when there is no room.
"""

import contextlib
import hashlib
import json
import math
import os
import time
import zipfile
import zlib

import numpy as np

from tfclust.runtime import files

# Another number where the same network and images give other features: after a
# change of `data.views.passes`, or of the baselines.
_VERSION = 1
_ENDING = ".npz"
_LEFT_BEHIND = 24 * 3600  # seconds after which a half-written file is removed
_DAMAGED = (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


def key_of(digest, source, what, **sizes):
    """The name of the features of a network on a source.

    Args:
      digest: str, of the network.
      source: `data.Source`.
      what: str, which numbers of the network.
      **sizes: ints, how images are cut.
    """
    about = [_VERSION, digest, source.manifest_hash, what, sizes]
    words = json.dumps(about, sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()


class FeatureStore:
    """Arrays by key in a folder of bounded size.

    Args:
      folder: `pathlib.Path`, made when something is kept.
      limit_bytes: int; the arrays used longest ago make room for new ones.
      say: called with a sentence if something cannot be kept, or None.
    """

    def __init__(self, folder, limit_bytes, say=None):
        self._folder, self._limit = folder, limit_bytes
        self._say = say or (lambda sentence: None)

    def get(self, key):
        """The array kept under `key`, or None."""
        found = self.get_all(key)
        return None if found is None else found["rows"]

    def get_all(self, key):
        """The arrays by name that `put_all` has kept under `key`, or None."""
        path = self._path(key)
        try:
            with np.load(path, allow_pickle=False) as found:
                # Compared with their CRCs as they are read.
                arrays = {name: found[name] for name in found.files}
        except FileNotFoundError:
            return None
        except OSError as error:
            self._say(f"{path} is computed again: {error.strerror or error}.")
            return None
        except _DAMAGED:
            self._say(f"{path} is damaged and is computed again.")
            self._remove(path)
            return None
        with contextlib.suppress(OSError):  # a folder that may only be read
            os.utime(path)  # used last
        return arrays

    def put(self, key, rows):
        """Keeps an array, if it has room, or says how much it needs; atomic."""
        self.put_all(key, {"rows": rows})

    def put_all(self, key, arrays):
        """Keeps arrays by name in the place of those before; as `put`."""
        num_bytes = sum(array.nbytes for array in arrays.values())
        if num_bytes > self._limit:
            # Tenths, up: what is advised has room for them.
            needed = math.ceil(num_bytes / 1e8) / 10
            self._say(
                f"{needed:g} GB are not kept for the next evaluation: "
                f"the cache may hold {self._limit / 1e9:g} GB. Give "
                f"--feature_cache_gb={needed:g} or more to keep them."
            )
            return
        path = self._path(key)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._make_room(num_bytes)
            with files.replacing(path) as file:
                np.savez(file, **arrays)
        except OSError as error:
            # Features that are not kept cost time, not the evaluation.
            self._say(
                f"Features are not kept in {self._folder}: "
                f"{error.strerror or error}."
            )

    def remove(self, key):
        """Removes what is kept under `key`."""
        self._remove(self._path(key))

    def _make_room(self, num_bytes):
        """Removes what was used longest ago, and what a kill left behind."""
        kept = []
        for path in self._folder.iterdir():
            about = _stat(path)
            if about is None:
                continue
            if path.name.endswith(".partial"):
                if time.time() - about.st_mtime > _LEFT_BEHIND:
                    self._remove(path)
            elif path.suffix == _ENDING:
                kept.append((about.st_mtime, about.st_size, path))
        total = sum(size for _, size, _ in kept) + num_bytes
        for _, size, path in sorted(kept, key=lambda one: one[0]):
            if total <= self._limit:
                break
            self._remove(path)
            total -= size

    def _remove(self, path):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._say(f"{path} cannot be removed: {error.strerror or error}.")

    def _path(self, key):
        return self._folder / f"{key}{_ENDING}"


def _stat(path):
    try:
        return path.stat()
    except OSError:
        return None  # another evaluation has removed it
