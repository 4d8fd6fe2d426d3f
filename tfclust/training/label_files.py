"""Labels in a CSV file: published ones, or the table of `tfclust.cluster`.

SeLa's authors publish the labels of ImageNet's images that way, ten columns
for ten heads (github.com/yukimasano/self-label, README).
"""

import csv
import pathlib
import re

import numpy as np

from tfclust.runtime import folders

SUFFIX = ".csv"
_NAME, _CLUSTER = "name", "cluster"  # columns of clusters.csv
# What the header of a column of names is made of, such as image_id.
_NAMES = {
    "name", "id", "image", "img", "file", "filename", "path", "filepath",
}  # fmt: skip


def read(words, source):
    """Labels `[N, H]` int64 of the images, -1 for none.

    A row is one image: its labels, one per head, with or without its name
    before them. A header tells whether the first column has names, which may
    be numbers; one with the columns `name` and `cluster`, as clusters.csv has
    it, says which columns count. Names find their images by whole paths, or
    else by file names where these are unique, with their ending or without.
    Without names, rows are in the order of the images, which in a folder is
    that of their sorted paths.

    Args:
      words: str, the file. source: `data.Source`.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no such table, may be read in two ways, or none of
        its images is in the source.
    """
    path = folders.expanded(words)
    names, labels = _columns(words, _rows(words, path), source)
    if names is None:
        if len(labels) != source.num_images:
            raise ValueError(
                f"pseudo_labels={words} needs a row for each image where rows "
                f"have no names. Received: {len(labels):,} rows for "
                f"{source.num_images:,} images of {source.uri}. Put names into "
                "its first column, or give the data it was made for."
            )
        return labels
    found = np.full((source.num_images, labels.shape[1]), -1, np.int64)
    places = _places(names, source.manifest().names)
    known = [(place, i) for i, place in enumerate(places) if place is not None]
    if not known:
        raise ValueError(
            f"pseudo_labels={words} names none of the images. Received: "
            f"{names[0]!r} in its first row, {source.manifest().names[0]!r} in "
            f"{source.uri}. Names are paths within the folder, or file names."
        )
    to, rows = np.array(known).T
    found[to] = labels[rows]
    others = np.flatnonzero((found[to] != labels[rows]).any(axis=1))
    if len(others):
        raise ValueError(
            f"pseudo_labels={words} must label an image once. Received: "
            f"{names[rows[others[0]]]!r} again below, with other labels. Take "
            "one of the rows out."
        )
    return found


def _rows(words, path):
    """The file's rows that are not empty, with their numbers."""
    if not path.is_file():
        raise FileNotFoundError(
            f"pseudo_labels={words} is no file. Expected a CSV file with the "
            "labels of each image, such as a run's clusters.csv."
        )
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.reader(lines)
            found = [(rows.line_num, row) for row in rows if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"pseudo_labels={words} must be a CSV file in UTF-8. Received: "
            f"{error}. Save it again as one."
        ) from error
    if not found:
        raise ValueError(f"pseudo_labels={words} is empty. Give another file.")
    return found


def _columns(words, rows, source):
    """`(names or None, labels [R, H])`."""
    header: list = []
    if not any(_label(cell) is not None for cell in rows[0][1]):
        (_, header), *rows = rows
        if {_NAME, _CLUSTER} <= set(header):
            pick = header.index(_NAME), header.index(_CLUSTER)
            header = [_NAME, _CLUSTER]
            rows = [
                (n, [row[i] for i in pick if i < len(row)]) for n, row in rows
            ]
    named = _has_names(words, header, [row for _, row in rows], source)
    width = len(rows[0][1]) if rows else 0
    labels = []
    for number, row in rows:
        values = [_label(cell) for cell in row[named:]]
        if len(row) != width or None in values or not values:
            raise ValueError(
                f"pseudo_labels={words} needs the same number of labels, whole "
                f"numbers, in each row. Received: {','.join(row)[:60]!r} in "
                f"line {number}. Mend the line, or take it out."
            )
        labels.append(values)
    if not labels:
        raise ValueError(
            f"pseudo_labels={words} has a header and no labels. Give another."
        )
    names = [row[0] for _, row in rows] if named else None
    return names, np.array(labels, np.int64)


def _has_names(words, header, rows, source):
    """Whether the first column has names, which may be numbers."""
    if any(_label(row[0]) is None for row in rows):
        return True
    parts = re.findall("[a-z]+", header[0].lower()) if header else []
    if parts and set(parts) <= _NAMES:
        return True
    if header:
        unclear = len(header) > 1
    else:  # labels, unless each is the name of an image of its own
        first = [row[0].strip() for row in rows if len(row) > 1]
        places = _places(first, source.manifest().names)
        unclear = len(first) > 1 and len({*places} - {None}) == len(first)
    if unclear:
        if_labels = "take the header out" if header else "put names before them"
        raise ValueError(
            f"pseudo_labels={words} must tell names from labels. Received: "
            "numbers in the first column, below "
            f"{','.join(header)[:60] or 'no header'}. If they are names of "
            f"images, begin the file with the line {_NAME},{_CLUSTER}; if "
            f"they are labels, {if_labels}."
        )
    return False


def _label(cell):
    """The label in a cell, -1 if it is empty or negative; None for words."""
    cell = cell.strip()
    if not cell:
        return -1
    try:
        return min(max(int(cell), -1), np.iinfo(np.int64).max)
    except ValueError:
        return None


def _places(names, images):
    """Which image each name is, None for none."""
    paths = [pathlib.PurePosixPath(name) for name in images]
    whole = _unique(images), _unique([str(p.parent / p.stem) for p in paths])
    alone = _unique([p.name for p in paths]), _unique([p.stem for p in paths])

    def place(name):
        file = pathlib.PurePosixPath(name).name
        of_name = [places[name] for places in whole if name in places]
        of_file = [places[file] for places in alone if file in places]
        return next(iter(of_name + of_file), None)

    return [place(name) for name in names]


def _unique(names):
    """`{name: its number}`, None for one that comes twice."""
    found: dict[str, int | None] = {}
    for i, name in enumerate(names):
        found[name] = None if name in found else i
    return found
