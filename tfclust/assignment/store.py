"""Rows of numbers on the disk, added block by block; a killed pass resumes.

A million images have 8 GB of features, so they are never in memory together. A
row counts as written once `done.json` says so; what a kill left behind it is
written again.
"""

import contextlib
import json
import os
import shutil

import numpy as np

from tfclust.runtime import files, folders, locks

_DONE = "done.json"
_WAY_OUT = (
    "What was computed is kept, and the same command goes on from there. Make "
    "room, or give another output."
)


class RowStore:
    """Columns of N rows in a folder of their own, one file each.

    Args:
      folder: `pathlib.Path`; made if necessary.
      key: dict that JSON can hold: what the rows were computed from. Rows of
        another key are dropped.
      columns: dict from a name to (dtype, width); width None for one number.

    Attributes:
      done: int, rows written. notes: dict from a name to a reason, kept with
      them.
    """

    def __init__(self, folder, key, columns):
        self.folder = folder
        self._key = json.loads(json.dumps({"of": key, "columns": columns}))
        self._columns = columns
        folder.mkdir(parents=True, exist_ok=True)
        found = self._found()
        self.done, self.notes = found.get("done", 0), found.get("notes", {})
        self._end = self.done
        self._files = {
            name: open(self._path(name), "r+b" if self.done else "w+b")  # noqa: SIM115
            for name in columns
        }

    def add(self, rows):
        """Adds rows behind the last; `commit` makes them count.

        Args:
          rows: dict of arrays, by column.
        """
        with folders.writing(f"features in {self.folder}", _WAY_OUT):
            for name, file in self._files.items():
                dtype, width = self._columns[name]
                part = np.ascontiguousarray(rows[name], dtype)
                file.seek(self._end * self._row_bytes(name))
                file.write(part.data)
        self._end += len(part)

    def commit(self, notes):
        """Makes what was added count, with notes on it, also after a kill."""
        about = {**self._key, "done": self._end, "notes": notes}
        with folders.writing(f"features in {self.folder}", _WAY_OUT):
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
            files.write_text(self.folder / _DONE, json.dumps(about))
        self.done, self.notes = self._end, notes

    def column(self, name):
        """The rows written of a column, `[done, ...]`, read when used."""
        self._files[name].flush()
        dtype, width = self._columns[name]
        shape = (self.done,) if width is None else (self.done, width)
        if not self.done:
            return np.empty(shape, dtype)
        return np.memmap(self._path(name), dtype, "r", shape=shape)

    def close(self):
        for file in self._files.values():
            file.close()

    def remove(self):
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _found(self):
        try:
            found = json.loads((self.folder / _DONE).read_text("utf-8"))
            done = found["done"]
            whole = all(
                self._path(name).stat().st_size >= done * self._row_bytes(name)
                for name in self._columns
            )
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        ours = {name: found.get(name) for name in self._key} == self._key
        return found if ours and whole else {}

    def _path(self, name):
        return self.folder / f"{name}.rows"

    def _row_bytes(self, name):
        dtype, width = self._columns[name]
        return np.dtype(dtype).itemsize * (1 if width is None else width)


@contextlib.contextmanager
def working_folder(output):
    """The hidden folder beside `output` in which its rows are kept.

    Args:
      output: `pathlib.Path` of a file, whose folder exists.

    Raises:
      ValueError: if another process is writing the same output.
    """
    folder = output.with_name(f".{output.name}.work")
    folder.mkdir(exist_ok=True)
    lock = locks.alone(
        folder,
        f"output={output} is being written by another process, which has "
        f"locked {folder}. Wait for it, or give another output.",
    )
    try:
        yield folder
    finally:
        os.close(lock)
