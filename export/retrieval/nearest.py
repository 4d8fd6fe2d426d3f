"""The rows nearest to a query: exactly, or by faiss's inverted lists.

By N: up to 20,000 rows, every row is compared. Above, faiss groups the rows
into about 4 sqrt(N) lists and compares those of the nearest lists: `ivf_flat`
keeps the rows as they are, `ivf_sq8` a byte a value, from 2 GiB of rows on;
what that proposes is scored again from the stored rows, so that scores are
exact. How many lists are looked through is measured: as few as give a recall@10
of 0.99 on 256 of the own rows, each without itself, and of 0.97 on 256 that are
drawn. Images of a group that the index has not seen lie between its groups, and
their ten nearest in more lists; they are drawn from the normal distribution
with the rows' mean and covariance, which knows no groups.

The lists are in files of at most 256 MiB, which all are looked through: so an
index of any size is built in that much memory, and read from the disk.
"""

import errno
import importlib.util
import os
import pathlib
from typing import NamedTuple

import numpy as np

from tfclust.runtime import files

EXACT, FLAT, SQ8 = "exact", "ivf_flat", "ivf_sq8"
KINDS = (EXACT, FLAT, SQ8)
EXACT_UP_TO = 20_000
FLAT_UP_TO_BYTES = 2 << 30
# Of one file of lists, and of the rows from which groups are learnt.
BUDGET_BYTES = 256 << 20
RECALL, RECALL_DRAWN = 0.99, 0.97
_BLOCK = 8_192  # rows in a product
_TRIED = 256  # rows on which the recall is measured, of each kind
_LEARNT_FROM = 4_096  # rows, of the distribution from which others are drawn
_POINTS_PER_LIST = 40  # faiss warns below 39
_ITERATIONS = 10
_MOST_LISTS = 1 << 16
_RECALL_AT = 10
_FEWEST = 8  # lists that are looked through
_MORE = 4  # times as many rows are scored again as are asked for
_NO_ROW = -1  # faiss's word for none
_NO_FAISS = 'faiss is not installed: pip install "tfclust[retrieval]"'


class Neighbours(NamedTuple):
    """The nearest rows of queries, the nearest first."""

    scores: np.ndarray  # float32 [q, top], cosines
    rows: np.ndarray  # int64 [q, top]


def has_faiss():
    """Whether faiss can be imported."""
    return importlib.util.find_spec("faiss") is not None


def choose(count, width, asked="auto"):
    """The kind of an index for `count` rows, of `KINDS`.

    Raises:
      ValueError: if a kind is asked for that needs faiss, which is absent.
    """
    if asked in (FLAT, SQ8) and not has_faiss():
        raise ValueError(
            f"nearest={asked} needs faiss. Received: {_NO_FAISS}. Or leave "
            "nearest out, for exact search."
        )
    if asked != "auto":
        return asked
    if count <= EXACT_UP_TO or not has_faiss():
        return EXACT
    return FLAT if count * width * 4 <= FLAT_UP_TO_BYTES else SQ8


def exact(blocks, queries, top):
    """The nearest rows by comparing all.

    Args:
      blocks: list of float32 `[m, F]`, unit rows, in memory or on the disk.
      queries: float32 `[q, F]`, unit rows.
      top: int, at most the number of rows.

    Returns:
      `Neighbours`; of equal scores, the first row comes first.
    """
    scores = np.zeros([len(queries), 0], np.float32)
    rows = np.zeros([len(queries), 0], np.int64)
    begin = 0
    for block in blocks:
        for start in range(0, len(block), _BLOCK):
            part = queries @ np.asarray(block[start : start + _BLOCK]).T
            places = np.arange(part.shape[1]) + begin + start
            places = np.broadcast_to(places, part.shape)
            scores, rows = _best(
                np.concatenate([scores, part], axis=1),
                np.concatenate([rows, places], axis=1),
                top,
            )
        begin += len(block)
    return Neighbours(scores, rows)


def build(kind, blocks, folder, name):
    """Writes an approximate index of all rows, in bounded memory.

    Args:
      kind: "ivf_flat" or "ivf_sq8".
      blocks: list of float32 `[m, F]`, unit rows on the disk.
      folder: `pathlib.Path`. name: of the file without its ending.

    Returns:
      dict to be kept: kind, files, lists, probes, and the recall measured on
      own rows and on drawn ones.
    """
    import faiss

    count, width = sum(map(len, blocks)), blocks[0].shape[1]
    index = _trained(faiss, kind, blocks, count, width)
    at_once = max(1, BUDGET_BYTES // (index.code_size + 8))
    names: list[str] = []

    def keep():
        names.append(f"{name}.{len(names)}.faiss")
        with files.replacing(folder / names[-1]) as file:
            to = faiss.PyCallbackIOWriter(file.write)  # type: ignore
            faiss.write_index(index, to)
        index.reset()

    start = 0
    for block in blocks:
        if index.ntotal and index.ntotal + len(block) > at_once:
            keep()
        rows = np.ascontiguousarray(block)
        index.add_with_ids(rows, np.arange(start, start + len(rows)))
        start += len(rows)
    keep()
    about = {"kind": kind, "files": names, "lists": int(index.nlist)}
    opened = [_opened(folder / part) for part in names]
    probes, own, drawn = _probes(opened, index.nlist, blocks, count)
    about["probes"] = probes
    return {**about, "recall": own, "recall_drawn": drawn}


class Searcher:
    """Finds rows, exactly or by faiss's lists.

    Args:
      blocks: list of float32 `[m, F]`, unit rows.
      indexes: faiss's, each of some of the rows; none to compare every row.
      probes: int, lists that it looks through.
      notice: str, what a user should know; empty for nothing.
    """

    def __init__(self, blocks, indexes=(), probes=0, notice=""):
        self._blocks, self._indexes, self._probes = blocks, indexes, probes
        self._starts = np.cumsum([0, *map(len, blocks)])
        self.notice = notice

    def search(self, queries, top):
        """`Neighbours` of unit rows float32 `[q, F]`; -1 and -inf for none."""
        top = min(top, int(self._starts[-1]))
        if not self._indexes:
            return exact(self._blocks, queries, top)
        found = [self._of_index(i, queries, top) for i in self._indexes]
        scores = np.concatenate([scores for scores, _ in found], axis=1)
        rows = np.concatenate([rows for _, rows in found], axis=1)
        return Neighbours(*_best(scores, rows, top))

    def _of_index(self, index, queries, top):
        """Scores and rows `[q, n]` that one of the indexes proposes."""
        rounded = index.code_size < 4 * queries.shape[1]
        index.nprobe = self._probes
        scores, rows = index.search(
            np.ascontiguousarray(queries), _MORE * top if rounded else top
        )
        if rounded:
            scores = self._scores(queries, rows)
        return np.where(rows < 0, -np.inf, scores), rows

    def rows(self, wanted):
        """float32 `[n, F]` of row numbers int64 `[n]`."""
        found = np.empty([len(wanted), self._blocks[0].shape[1]], np.float32)
        blocks = np.searchsorted(self._starts, wanted, side="right") - 1
        for number in np.unique(blocks):
            here = blocks == number
            places = wanted[here] - self._starts[number]
            found[here] = self._blocks[number][places]
        return found

    def _scores(self, queries, proposed):
        """float32 `[q, n]`, cosines with rows int64 `[q, n]`."""
        found = np.zeros(proposed.shape, np.float32)
        for query, (rows, out) in enumerate(zip(proposed, found, strict=True)):
            known = rows >= 0
            out[known] = self.rows(rows[known]) @ queries[query]
        return found


def searcher(folder, blocks, about):
    """The `Searcher` of an index.

    Args:
      folder: `pathlib.Path` of the index.
      blocks: list of float32 `[m, F]`, its unit rows.
      about: what `build` returned, or `{"kind": "exact"}`.
    """
    if about["kind"] == EXACT:
        return Searcher(blocks)
    if not has_faiss():
        notice = f"Every row is compared, since {_NO_FAISS}."
        return Searcher(blocks, notice=notice)
    opened = [_opened(pathlib.Path(folder) / name) for name in about["files"]]
    return Searcher(blocks, opened, about["probes"])


def _best(scores, rows, top):
    """The `top` largest scores of each query, sorted, and their rows."""
    if scores.shape[1] > top:
        kept = np.argpartition(-scores, top - 1, axis=1)[:, :top]
        scores = np.take_along_axis(scores, kept, axis=1)
        rows = np.take_along_axis(rows, kept, axis=1)
    order = np.lexsort((rows, -scores), axis=1)
    return (
        np.take_along_axis(scores, order, axis=1),
        np.take_along_axis(rows, order, axis=1),
    )


def _trained(faiss, kind, blocks, count, width):
    lists = 1 << round(np.log2(4 * np.sqrt(count)))
    lists = max(1, min(lists, count // _POINTS_PER_LIST, _MOST_LISTS))
    points = min(count, lists * _POINTS_PER_LIST)
    points = max(lists, min(points, BUDGET_BYTES // (4 * width)))
    code = "Flat" if kind == FLAT else "SQ8"
    index = faiss.index_factory(
        width, f"IVF{lists},{code}", faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter = _ITERATIONS
    index.cp.min_points_per_centroid = 1
    index.train(_spaced(blocks, count, points))
    return index


def _spaced(blocks, count, number):
    """float32 `[number, F]`, evenly spaced over all rows."""
    wanted = np.arange(number) * count // number
    found, start = [], 0
    for block in blocks:
        here = wanted[(wanted >= start) & (wanted < start + len(block))]
        found.append(np.asarray(block[here - start]))
        start += len(block)
    return np.concatenate(found)


def _opened(path):
    """The lists stay on the disk, and are read where a query leads.

    Raises:
      FileNotFoundError: if they are gone. ValueError: if they are damaged.
    """
    import faiss

    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
    except RuntimeError as error:
        if not path.exists():
            raise FileNotFoundError(
                errno.ENOENT, os.strerror(errno.ENOENT), str(path)
            ) from error
        lines = str(error).strip().splitlines()
        raise ValueError(
            f"{path} is damaged: {lines[-1]}. Run build_index again."
        ) from error


def _probes(indexes, lists, blocks, count):
    """The lists to look through; the recall@10 on own rows, and on drawn."""
    if count < 2:
        return lists, 1.0, 1.0
    number = min(_TRIED, count)
    own = np.arange(number) * count // number
    queries = np.concatenate(
        [_spaced(blocks, count, number), _drawn(blocks, count, number)]
    )
    own = np.concatenate([own, np.full(number, _NO_ROW)])
    top = min(_RECALL_AT, count - 1)
    truth = _without_own(exact(blocks, queries, top + 1), own)[:, top - 1]
    probes = _FEWEST // 2
    while True:
        probes = min(2 * probes, lists)
        tried = Searcher(blocks, indexes, probes)
        found = _without_own(tried.search(queries, top + 1), own)[:, :top]
        # By scores: of equally near rows, either may be found.
        shares = (found >= truth[:, None] - 1e-6).mean(axis=1)
        recall = float(shares[:number].mean())
        drawn = float(shares[number:].mean())
        enough = recall >= RECALL and drawn >= RECALL_DRAWN
        if enough or probes == lists:
            return probes, recall, drawn


def _drawn(blocks, count, number):
    """float32 `[number, F]`, unit rows that belong to no group.

    Normal combinations of centred rows have the rows' covariance.
    """
    rows = _spaced(blocks, count, min(count, _LEARNT_FROM))
    mean = rows.mean(axis=0)
    parts = np.random.default_rng(0).standard_normal((number, len(rows)))
    found = mean + parts @ (rows - mean) / np.sqrt(len(rows))
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.float32(found / np.maximum(lengths, 1e-12))


def _without_own(found, own):
    """Scores `[q, top]` with each query's own row at the end, as -inf."""
    scores = np.where(found.rows == own[:, None], -np.inf, found.scores)
    return -np.sort(-scores, axis=1)
