"""The table of images and clusters, as CSV or Parquet, and read again."""

import csv
import importlib.util
import io
from typing import NamedTuple

import numpy as np

from tfclust.runtime import files, folders

COLUMNS = (
    *("name", "cluster", "cluster_name", "confidence", "distance"),
    *("second_choice", "outlier", "duplicate_of"),
)
_BLOCK = 50_000
_WAY_OUT = "An older file is unchanged. Make room, or give another output."


class Table(NamedTuple):
    """A row for each image, by the names of `COLUMNS`.

    second_choice is -1 for none; duplicate_of a list of names, "" for none.
    """

    name: list
    cluster: np.ndarray
    cluster_name: list
    confidence: np.ndarray
    distance: np.ndarray
    second_choice: np.ndarray
    outlier: np.ndarray
    duplicate_of: list


class _Lines(NamedTuple):
    """What `csv` writes to; lines end as elsewhere on the system's disk."""

    file: io.TextIOBase

    def write(self, line):
        self.file.write(line.removesuffix("\r\n") + "\n")


def check(path):
    """Refuses a path whose format cannot be written.

    Raises:
      ValueError: if it ends in .parquet and pyarrow is not installed.
    """
    wanted = path.suffix.lower() == ".parquet"
    if wanted and importlib.util.find_spec("pyarrow") is None:
        raise ValueError(
            "a .parquet file is written by pyarrow, which is not installed. "
            f"Received: output={path}. Write to .csv, or install it: "
            "pip install pyarrow."
        )


def write(path, table):
    """Writes a `Table`, block by block, as a whole or not at all."""
    with (
        folders.writing(f"the table {path}", _WAY_OUT),
        files.replacing(path) as file,
    ):
        if path.suffix.lower() == ".parquet":
            write_parquet(file, len(table.name), lambda s: _columns(table, s))
            return
        # A file's name may hold bytes that are not UTF-8.
        text = io.TextIOWrapper(
            file, encoding="utf-8", errors="surrogateescape", newline=""
        )
        # A carriage return is quoted only if it could end a line.
        rows = csv.writer(_Lines(text), lineterminator="\r\n")
        rows.writerow(COLUMNS)
        for begin in range(0, len(table.name), _BLOCK):
            some = slice(begin, begin + _BLOCK)
            rows.writerows(zip(*_as_words(table, some), strict=True))
        text.flush()
        text.detach()


def write_parquet(file, num_rows, columns):
    """Writes row groups of columns.

    Args:
      file: open for writing bytes. num_rows: int.
      columns: function of a slice to a dict of arrays or lists.
    """
    import pyarrow
    from pyarrow import parquet

    part = pyarrow.table(columns(slice(0, _BLOCK)))
    with parquet.ParquetWriter(file, part.schema) as writer:
        writer.write_table(part)
        for begin in range(_BLOCK, num_rows, _BLOCK):
            some = slice(begin, begin + _BLOCK)
            writer.write_table(pyarrow.table(columns(some)))


def chosen(table, rows):
    """The `Table` of some rows."""
    return Table(
        *(
            [column[i] for i in rows]
            if isinstance(column, list)
            else column[rows]
            for column in table
        )  # type: ignore[arg-type]
    )


def read(path):
    """Names, clusters `[n]` and the names of clusters of a written table.

    Raises:
      FileNotFoundError: if it is not there.
      ValueError: if it is no such table.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no table at {path}: expected what tfclust.cluster writes."
        )
    try:
        if path.suffix.lower() == ".parquet":
            names, clusters, named = _read_parquet(path)
        else:
            names, clusters, named = _read_csv(path)
        clusters = np.array([int(k) for k in clusters], np.int64)
    except (ValueError, KeyError, TypeError, OSError, csv.Error) as error:
        raise ValueError(
            f"{path} is no table of clusters: it must have the columns name "
            f"and cluster. Received: {error}. Give a file that tfclust.cluster "
            "wrote."
        ) from error
    of_id = {int(k): word for k, word in zip(clusters, named, strict=True)}
    return names, clusters, {k: word for k, word in of_id.items() if word}


def readable(names):
    """Names as text that is valid UTF-8, such as Parquet needs."""
    return [n.encode("utf-8", "backslashreplace").decode() for n in names]


def _columns(table, some):
    found = {name: column[some] for name, column in table._asdict().items()}
    for name in ("name", "duplicate_of", "cluster_name"):
        found[name] = readable(found[name])
    return found


def _as_words(table, some):
    """The columns of some rows as what CSV shows."""
    second = [k if k >= 0 else "" for k in table.second_choice[some].tolist()]
    return (
        table.name[some],
        table.cluster[some].tolist(),
        table.cluster_name[some],
        [f"{x:.6g}" for x in table.confidence[some].tolist()],
        [f"{x:.6f}" for x in table.distance[some].tolist()],
        second,
        table.outlier[some].astype(int).tolist(),
        table.duplicate_of[some],
    )


def _read_csv(path):
    with open(
        path, encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:
        rows = csv.DictReader(file)
        found = [
            (row["name"], row["cluster"], row.get("cluster_name") or "")
            for row in rows
        ]
    names, clusters, named = zip(*found, strict=True) if found else ((),) * 3
    return list(names), clusters, named


def _read_parquet(path):
    check(path)
    from pyarrow import parquet

    found = parquet.read_table(path).to_pydict()
    named = found.get("cluster_name") or [""] * len(found["name"])
    return found["name"], found["cluster"], named
