"""The rows nearest to a query: exactly, or by faiss's inverted lists.

By N: up to 20,000 rows, every row is compared. Above, faiss groups the rows
into about 4 sqrt(N) lists and compares those of the nearest lists: `ivf_flat`
keeps the rows as they are, `ivf_sq8` a byte a value, from 2 GiB of rows on;
what that proposes is scored again from the stored rows, so that scores are
exact. How many lists are looked through is measured: as few as give a recall@10
of 0.98 on 256 of the own rows, each without itself.
"""

import importlib.util
import pathlib
from typing import NamedTuple

import numpy as np

EXACT, FLAT, SQ8 = "exact", "ivf_flat", "ivf_sq8"
KINDS = (EXACT, FLAT, SQ8)
EXACT_UP_TO = 20_000
FLAT_UP_TO_BYTES = 2 << 30
# Rows and codes that are in memory at a time while an index is built.
BUDGET_BYTES = 256 << 20
RECALL = 0.98
_BLOCK = 8_192  # rows in a product
_TRIED = 256  # rows on which the recall is measured
_POINTS_PER_LIST = 40  # faiss warns below 39
_ITERATIONS = 10
_MOST_LISTS = 1 << 16
_RECALL_AT = 10
_MORE = 4  # times as many rows are scored again as are asked for
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
      dict to be kept: kind, files, lists, probes, and the recall measured.
    """
    import faiss

    count, width = sum(map(len, blocks)), blocks[0].shape[1]
    index = _trained(faiss, kind, blocks, count, width)
    bytes_a_row = index.code_size + 8
    at_once = max(1, BUDGET_BYTES // bytes_a_row)
    path = folder / f"{name}.faiss"
    names = [path.name]
    if count <= at_once:
        for start, block in _starts(blocks):
            _add(index, block, start)
    else:
        names.append(_merged(faiss, index, blocks, at_once, folder, name))
    faiss.write_index(index, str(path))
    about = {"kind": kind, "files": names, "lists": int(index.nlist)}
    probes, recall = _probes(_opened(path), blocks, count)
    return {**about, "probes": probes, "recall": recall}


class Searcher:
    """Finds rows, exactly or by faiss's lists.

    Args:
      blocks: list of float32 `[m, F]`, unit rows.
      index: faiss's, or None to compare every row.
      probes: int, lists that it looks through.
      notice: str, what a user should know; empty for nothing.
    """

    def __init__(self, blocks, index=None, probes=0, notice=""):
        self._blocks, self._index, self._probes = blocks, index, probes
        self._starts = np.cumsum([0, *map(len, blocks)])
        self.notice = notice

    def search(self, queries, top):
        """`Neighbours` of unit rows float32 `[q, F]`; -1 and -inf for none."""
        top = min(top, int(self._starts[-1]))
        if self._index is None:
            return exact(self._blocks, queries, top)
        rounded = self._index.code_size < 4 * queries.shape[1]
        self._index.nprobe = self._probes
        scores, rows = self._index.search(
            np.ascontiguousarray(queries), _MORE * top if rounded else top
        )
        if rounded:
            scores = self._scores(queries, rows)
        scores = np.where(rows < 0, -np.inf, scores)
        return Neighbours(*_best(scores, rows, top))

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
    path = pathlib.Path(folder) / about["files"][0]
    return Searcher(blocks, _opened(path), about["probes"])


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
    found = []
    for start, block in _starts(blocks):
        here = wanted[(wanted >= start) & (wanted < start + len(block))]
        found.append(np.asarray(block[here - start]))
    return np.concatenate(found)


def _starts(blocks):
    start = 0
    for block in blocks:
        yield start, block
        start += len(block)


def _add(index, block, start):
    rows = np.ascontiguousarray(block)
    index.add_with_ids(rows, np.arange(start, start + len(rows)))


def _merged(faiss, index, blocks, at_once, folder, name):
    """Fills `index` by files of at most `at_once` rows; its lists stay there.

    Returns:
      str, the name of the file of the lists.
    """
    from faiss.contrib.ondisk import merge_ondisk

    shards: list[pathlib.Path] = []
    shard = faiss.clone_index(index)

    def keep():
        shards.append(folder / f".{name}.{len(shards)}.partial")
        faiss.write_index(shard, str(shards[-1]))

    data = folder / f"{name}.ivfdata"
    try:
        for start, block in _starts(blocks):
            if shard.ntotal and shard.ntotal + len(block) > at_once:
                keep()
                shard.reset()
            _add(shard, block, start)
        keep()
        shard.reset()
        merge_ondisk(index, [str(path) for path in shards], str(data))
    finally:
        for path in shards:
            path.unlink(missing_ok=True)
    return data.name


def _opened(path):
    """The lists stay on the disk, and are read where a query leads."""
    import faiss

    how = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_ONDISK_SAME_DIR
    try:
        return faiss.read_index(str(path), how)
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        raise ValueError(
            f"{path} is damaged: {lines[-1]}. Run build_index again."
        ) from error


def _probes(index, blocks, count):
    """The lists to look through, and the recall@10 that they have."""
    number = min(_TRIED, count)
    own = np.arange(number) * count // number
    queries = _spaced(blocks, count, number)
    top = min(_RECALL_AT, count - 1)
    truth = _without_own(exact(blocks, queries, top + 1), own)[:, top - 1]
    probes, recall = 4, 0.0
    while recall < RECALL and probes < index.nlist:
        probes = min(2 * probes, index.nlist)
        tried = Searcher(blocks, index, probes)
        found = _without_own(tried.search(queries, top + 1), own)[:, :top]
        # By scores: of equally near rows, either may be found.
        recall = float((found >= truth[:, None] - 1e-6).mean())
    return probes, recall


def _without_own(found, own):
    """Scores `[q, top]` with each query's own row at the end, as -inf."""
    scores = np.where(found.rows == own[:, None], -np.inf, found.scores)
    return -np.sort(-scores, axis=1)
