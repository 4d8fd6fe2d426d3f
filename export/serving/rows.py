"""Rows of a result: kept as they come, and written as one file at the end.

Beside the output, a hidden folder holds `plan.json`, which says what is asked,
and parts of finished rows. A client that was stopped goes on after them.
"""

import contextlib
import json
import os
import pathlib
import shutil
import zipfile
import zlib
from typing import Any

import numpy as np

from tfclust.runtime import files, folders, locks
from tfclust.runtime.terminal import one_line

SUFFIXES = (".parquet", ".npz")
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
        self._lock = None
        self._waiting, self._waiting_rows = [], 0
        self.done = 0

    def __enter__(self):
        self._folder.mkdir(exist_ok=True)
        self._lock = locks.held(self._folder)
        if self._lock is None:
            raise ValueError(
                f"output={self.output} is being written by another client. "
                "Wait for it, or give another output."
            )
        return self

    def __exit__(self, *_):
        if self._lock is not None:
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
            raise _damaged(path, error) from error
        if not isinstance(plan, dict):
            raise _damaged(path, "it is no object")
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
        self.done = sum(len(_read(path)[1]) for path in self._parts())

    def add(self, rows):
        """Keeps `sending.Rows`; they are on the disk after a while."""
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
        write = _write_npz if self.output.suffix == ".npz" else _write_parquet
        with self._writing():
            write(self.output, list(self._parts()), names, skipped, about)
        shutil.rmtree(self._folder)
        files.flush(self.output.parent)

    def statuses(self):
        """The status of each row that is kept."""
        return [s for path in self._parts() for s in _read(path)[1]]

    def _parts(self):
        return sorted(self._folder.glob("[0-9]*.npz"))

    def _writing(self):
        return folders.writing(
            str(self.output),
            "What is kept stays; make room, and give the same command again.",
        )


def _read(path):
    """Columns and statuses of a part."""
    try:
        with np.load(path) as stored:
            words = json.loads(str(stored["words"]))
            names = [n for n in stored.files if n != "words"]
            columns = {n: stored[n] for n in names}
        status = words.pop("status")
    except (
        zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError
    ) as error:  # fmt: skip
        raise _damaged(path, error) from error
    for name, values in words.items():
        columns[name] = np.array(values, object)
    columns = {n.removeprefix("column/"): c for n, c in columns.items()}
    return dict(sorted(columns.items())), status


def _damaged(path, why):
    return ValueError(
        f"{path} is damaged: {why}. Give --restart to begin anew."
    )


def _texts(column):
    """Nested lists of str of an array of bytes."""
    if column.ndim > 1:
        return [_texts(row) for row in column]
    return [value.decode("utf-8", "backslashreplace") for value in column]


def _without_answer(column, rows):
    """`rows` more rows that no server has answered."""
    shape = (rows, *column.shape[1:])
    if column.dtype == object:
        return np.full(shape, "", object)
    value = np.nan if column.dtype.kind == "f" else -1
    return np.full(shape, value, column.dtype)


def _tables(parts, names, skipped):
    """Yields (names, statuses, columns) of each part, then of the skipped."""
    begin, columns = 0, {}
    for path in parts:
        columns, status = _read(path)
        end = begin + len(status)
        yield [one_line(n) for n in names[begin:end]], status, columns
        begin = end
    if skipped:
        more = {n: _without_answer(c, len(skipped)) for n, c in columns.items()}
        reasons = [f"not sent: {reason}" for _, reason in skipped]
        yield [one_line(name) for name, _ in skipped], reasons, more


def _write_npz(path, parts, names, skipped, about):
    tables = list(_tables(parts, names, skipped))
    arrays: dict[str, Any] = {
        "name": np.array([n for table in tables for n in table[0]]),
        "status": np.array([s for table in tables for s in table[1]]),
        "about": np.array(json.dumps(about)),
    }
    for name in tables[0][2]:
        column = np.concatenate([table[2][name] for table in tables])
        arrays[name] = column.astype(str) if column.dtype == object else column
    with files.replacing(path) as file:
        np.savez(file, **arrays)


def _write_parquet(path, parts, names, skipped, about):
    import pyarrow
    from pyarrow import parquet

    def arrow_table(part_names, status, columns):
        return pyarrow.table(
            {
                "name": pyarrow.array(part_names, pyarrow.string()),
                "status": pyarrow.array(status, pyarrow.string()),
                **{n: _arrow(c) for n, c in columns.items()},
            }
        ).replace_schema_metadata({"tfclust": json.dumps(about)})

    partial = files.partial_name(path)
    tables = (arrow_table(*table) for table in _tables(parts, names, skipped))
    try:
        first = next(tables)
        with parquet.ParquetWriter(partial, first.schema) as writer:
            writer.write_table(first)
            for table in tables:
                writer.write_table(table)
        files.flush(partial)
        os.replace(partial, path)
    finally:
        pathlib.Path(partial).unlink(missing_ok=True)


def _arrow(column):
    """An array of lists of a fixed size, one level an axis."""
    import pyarrow

    values = pyarrow.array(column.ravel())
    for side in column.shape[:0:-1]:
        values = pyarrow.FixedSizeListArray.from_arrays(values, side)
    return values
