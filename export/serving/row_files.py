"""The files of a result: parts of finished rows, and the one of all of them."""

import json
import os
import pathlib
import zipfile
import zlib
from typing import Any

import numpy as np

from tfclust.runtime import files
from tfclust.runtime.terminal import one_line

SUFFIXES = (".parquet", ".npz")


def write(path, parts, names, skipped, about):
    """Writes all rows as one file.

    Args:
      path: of the file, whose ending says its kind.
      parts: list of paths of parts, in order.
      names: list of str of their rows.
      skipped: list of (name, reason), more rows, without an answer.
      about: dict, kept in the file.
    """
    kind = _write_npz if path.suffix == ".npz" else _write_parquet
    kind(path, parts, names, skipped, about)


def read(path):
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
        raise damaged(path, error) from error
    for name, values in words.items():
        columns[name] = np.array(values, object)
    columns = {n.removeprefix("column/"): c for n, c in columns.items()}
    return dict(sorted(columns.items())), status


def damaged(path, why):
    return ValueError(
        f"{path} is damaged: {why}. Give --restart to begin anew."
    )


def _without_answer(column, rows):
    """`rows` more rows that no server has answered."""
    shape = (rows, *column.shape[1:])
    if column.dtype == object:
        return np.full(shape, "", object)
    value = np.nan if column.dtype.kind == "f" else -1
    return np.full(shape, value, column.dtype)


def _shapes(parts):
    """`{column: shape of a row}`, as the first part says that has answers."""
    found: dict[str, tuple] = {}
    for path in parts:
        columns, _ = read(path)
        known = {n: c.shape[1:] for n, c in columns.items() if c.size}
        found = {**known, **found}
        if len(found) == len(columns):
            break
    return found


def _filled(column, shape):
    """Rows of no values in the shape that others have.

    Where the signature's shape is open, what a server would have answered is
    not known until it has answered an image.
    """
    if column.size or shape is None:
        return column
    return _without_answer(np.empty([0, *shape], column.dtype), len(column))


def _tables(parts, names, skipped):
    """Yields (names, statuses, columns) of each part, then of the skipped."""
    begin, columns = 0, {}
    shapes = _shapes(parts)
    for path in parts:
        columns, status = read(path)
        columns = {n: _filled(c, shapes.get(n)) for n, c in columns.items()}
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

    if not column.size:  # a list of a fixed size may not be empty
        return pyarrow.array(column.tolist())
    values = pyarrow.array(column.ravel())
    for side in column.shape[:0:-1]:
        values = pyarrow.FixedSizeListArray.from_arrays(values, side)
    return values
