"""Rows of a result: kept as they come, and written as one file at the end.

Beside the output, a hidden folder holds `plan.json`, which says what is asked,
and parts of finished rows. A client that was stopped goes on after them.
"""

import contextlib
import json
import os
import shutil
from typing import Any

import numpy as np

from export.serving import row_files
from tfclust.runtime import files, folders, locks

_PLAN = "plan.json"
_ROWS_A_PART = 1024


class Unfinished:
    """The rows of an output that is not written yet; a context.

    Args:
      output: path, `.parquet` or `.npz`; its folder is made.
      restart: whether what is there is thrown away.

    Attributes:
      done: int, rows that are kept, from the first one on.

    Raises:
      ValueError: if the output is there already, cannot be written to, or
        another client writes it.
    """

    def __init__(self, output, *, restart=False):
        self.output = folders.writable_file("output", output)
        self._folder = self.output.parent / f".{self.output.name}.parts"
        if self.output.exists() and not restart:
            raise ValueError(
                f"output={self.output} is there already. Give --restart to "
                "write it again, or another output."
            )
        self._restart = restart
        self._waiting, self._waiting_rows = [], 0
        self.done = 0

    def __enter__(self):
        self._folder.mkdir(exist_ok=True)
        self._lock: int = locks.alone(
            self._folder,
            f"output={self.output} is being written by another client. Wait "
            "for it, or give another output.",
        )
        return self

    def __exit__(self, *_):
        os.close(self._lock)
        with contextlib.suppress(OSError):
            self._folder.rmdir()  # only if it is empty

    def planned(self):
        """What was asked by the client that was stopped; None if none was."""
        if self._restart:
            return None
        path = self._folder / _PLAN
        try:
            plan = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise row_files.damaged(path, error) from error
        if not isinstance(plan, dict):
            raise row_files.damaged(path, "it is no object")
        return plan

    def begin(self, plan):
        """Says what is asked; goes on if it is what was asked before.

        Args:
          plan: dict of what decides over the rows; values of JSON.

        Raises:
          ValueError: if something else was asked before.
        """
        before = self.planned()
        if self._restart:  # now that a server has answered
            for path in self._folder.iterdir():
                path.unlink()
            self._restart = False
        if before is None:
            files.write_text(self._folder / _PLAN, json.dumps(plan, indent=1))
        elif before != plan:
            names = [k for k in plan if before.get(k) != plan[k]]
            raise ValueError(
                f"output={self.output} was begun with other {', '.join(names)}."
                " Give the same again to go on, or --restart to begin anew."
            )
        self.done = sum(len(row_files.read(path)[1]) for path in self._parts())

    def add(self, rows):
        """Keeps `sending.Rows`; they are on the disk after a while."""
        if self._waiting and _sides(rows) != _sides(self._waiting[0]):
            self.flush()  # see `row_files`: the first rows had no answer
        self._waiting.append(rows)
        self._waiting_rows += len(rows.status)
        if self._waiting_rows >= _ROWS_A_PART:
            self.flush()

    def flush(self):
        """Puts on the disk what is not there yet."""
        if not self._waiting:
            return
        columns = {
            f"column/{name}": np.concatenate(
                [rows.columns[name] for rows in self._waiting]
            )
            for name in self._waiting[0].columns
        }
        status = [s for rows in self._waiting for s in rows.status]
        path = self._folder / f"{self._waiting[0].positions[0]:012d}.npz"
        texts = {n: c for n, c in columns.items() if c.dtype == object}
        plain: dict[str, Any] = {
            n: c for n, c in columns.items() if c.dtype != object
        }
        # Strings as JSON: NumPy would pickle them.
        words = {n: _texts(c) for n, c in texts.items()} | {"status": status}
        with self._writing(), files.replacing(path) as file:
            np.savez(file, words=json.dumps(words), **plain)
        self._waiting, self._waiting_rows = [], 0

    def finish(self, names, skipped, about):
        """Writes the output and removes the parts.

        Args:
          names: list of str of all rows. skipped: list of (name, reason), more
            rows, without an answer.
          about: dict, kept in the file.
        """
        self.flush()
        parts = list(self._parts())
        with self._writing():
            row_files.write(self.output, parts, names, skipped, about)
        shutil.rmtree(self._folder)
        files.flush(self.output.parent)

    def statuses(self):
        """The status of each row that is kept."""
        return [s for path in self._parts() for s in row_files.read(path)[1]]

    def _parts(self):
        return sorted(self._folder.glob("[0-9]*.npz"))

    def _writing(self):
        return folders.writing(
            str(self.output),
            "What is kept stays; make room, and give the same command again.",
        )


def _texts(column):
    """Nested lists of str of an array of bytes."""
    if column.ndim > 1:
        return [_texts(row) for row in column]
    return [value.decode("utf-8", "backslashreplace") for value in column]


def _sides(rows):
    return {name: column.shape[1:] for name, column in rows.columns.items()}
