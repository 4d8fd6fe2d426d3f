"""Nearest rows, exactly: by faiss if it is installed, else by TensorFlow.

Both give candidates, a few more than asked for, whose distances are then
computed again in the same way, row by row. So the two agree in order and value,
and distances between close rows do not suffer from the cancellation in
|x|^2 - 2 x.y + |y|^2. Memory is a block of scores, never N x N.
"""

import importlib.util
from typing import NamedTuple

import numpy as np
import tensorflow as tf

METRICS = ("squared_euclidean", "cosine")

# A block of scores takes 128 MB: 2,048 queries by 16,384 bank rows.
QUERY_ROWS = 2048
BANK_ROWS = 16384

# Extra candidates: float32 scores of rows that are almost equally far may come
# in either order.
_SPARE = 4
_DIFFERENCES = 2**24  # floats at once when distances are recomputed, 64 MB


class Neighbors(NamedTuple):
    """Rows `[Q, k]` int64, nearest first, and their distances `[Q, k]` float32.

    For equal distances the lower row comes first.
    """

    # The word used everywhere here, though tuples have a method of this name.
    index: np.ndarray  # type: ignore[assignment]
    distances: np.ndarray


def nearest_neighbors(
    rows,
    num_neighbors,
    *,
    queries=None,
    metric="squared_euclidean",
    use_faiss=None,
    block_rows=BANK_ROWS,
):
    """The rows nearest to each query, or to each row other than itself.

    Args:
      rows: `[N, D]` float array or tensor, the bank.
      num_neighbors: int k, at most N, or N - 1 without queries.
      queries: `[Q, D]` float; None for the rows themselves, none of which is
        then its own neighbour. A row that occurs twice is still the nearest to
        its copy.
      metric: "squared_euclidean", |x - y|^2, or "cosine", 1 - cos(x, y), where
        a row of zeros has cosine 0 to all.
      use_faiss: whether faiss searches, on the CPU, rather than TensorFlow on
        the device in scope; None means: if it is installed. The results are the
        same, except for the choice among more than k + 4 equally far rows.
      block_rows: int, bank rows compared at once; bounds the memory.

    Returns:
      `Neighbors`.

    Raises:
      ValueError: if an argument is out of its bounds, shapes do not fit, or
        rows are not finite.
      ModuleNotFoundError: if `use_faiss` is True and faiss is not installed.
    """
    bank = _checked("rows", rows)
    to_others = queries is None
    queries = bank if to_others else _checked("queries", queries)
    _check(bank, queries, num_neighbors, to_others, metric, block_rows)
    if use_faiss is None:
        use_faiss = importlib.util.find_spec("faiss") is not None
    search = _search_by_faiss if use_faiss else _search_by_tensorflow
    prepare = _unit if metric == "cosine" else _centred(bank)
    num_candidates = min(len(bank), num_neighbors + to_others + _SPARE)
    candidates = search(
        bank, queries, num_candidates, prepare, metric, block_rows
    )  # [Q, c]
    distances_of = _cosine(bank) if metric == "cosine" else _squares(bank)
    index = np.empty([len(queries), num_neighbors], np.int64)
    distances = np.empty([len(queries), num_neighbors], np.float32)
    block = max(1, _DIFFERENCES // (num_candidates * bank.shape[1]))
    for begin in range(0, len(queries), block):
        some = slice(begin, begin + block)
        by_row = np.sort(candidates[some], axis=1)
        found = distances_of(queries[some], by_row)  # [q, c]
        if to_others:
            own = np.arange(begin, begin + len(by_row))[:, None]
            found = np.where(by_row == own, np.inf, found)
        nearest = np.argsort(found, axis=1, kind="stable")[:, :num_neighbors]
        index[some] = np.take_along_axis(by_row, nearest, axis=1)
        distances[some] = np.take_along_axis(found, nearest, axis=1)
    return Neighbors(index, distances)


def _squares(bank):
    """A function of queries `[q, D]` and candidates `[q, c]` to `[q, c]`."""

    def distances(queries, candidates):
        apart = bank[candidates]  # [q, c, D]
        apart -= queries[:, None]
        return np.einsum("qcd,qcd->qc", apart, apart)

    return distances


def _cosine(bank):
    """As `_squares`, 1 - cosine."""
    inverse = 1 / _lengths(bank)[:, 0]  # [N]

    def distances(queries, candidates):
        products = np.matmul(bank[candidates], queries[..., None])[..., 0]
        cosines = products * inverse[candidates] / _lengths(queries)
        return np.maximum(1 - cosines, 0)  # float32 may round above 1

    return distances


def _search_by_tensorflow(
    bank, queries, num_candidates, prepare, metric, block_rows
):
    """Candidates `[Q, c]`: the largest x.y - |y|^2 / 2, or cosine."""
    shape = (len(queries), num_candidates)
    scores = np.full(shape, -np.inf, np.float32)
    candidates = np.zeros(shape, np.int64)
    # The bank is the larger side: each of its blocks is read and scaled once.
    for first in range(0, len(bank), block_rows):
        block = prepare(bank[first : first + block_rows])
        bias = np.zeros(len(block), np.float32)
        if metric == "squared_euclidean":
            bias = -0.5 * np.einsum("nd,nd->n", block, block)
        block, bias = tf.constant(block), tf.constant(bias)
        for begin in range(0, len(queries), QUERY_ROWS):
            some = slice(begin, begin + QUERY_ROWS)
            scores[some], candidates[some] = _merged(
                tf.constant(prepare(queries[some])),
                block,
                bias,
                scores[some],
                candidates[some],
                tf.constant(first, tf.int64),
                tf.constant(num_candidates),
            )
    return candidates


@tf.function(reduce_retracing=True, autograph=False)
def _merged(queries, block, bias, scores, candidates, first, num_candidates):
    """The best of those found so far and those in one more block."""
    products = tf.matmul(queries, block, transpose_b=True)  # [Q, b]
    in_block = tf.minimum(num_candidates, tf.shape(block)[0])
    values, columns = tf.math.top_k(products + bias, in_block)
    values = tf.concat([scores, values], axis=1)  # [Q, c + in_block]
    # Earlier blocks come first, so that top_k prefers their lower rows.
    columns = tf.cast(columns, tf.int64) + first
    columns = tf.concat([candidates, columns], axis=1)
    values, best = tf.math.top_k(values, num_candidates)  # [Q, c]
    return values, tf.gather(columns, best, batch_dims=1)


def _search_by_faiss(
    bank, queries, num_candidates, prepare, metric, block_rows
):
    """Candidates `[Q, c]`, by blocks: an index would copy the bank."""
    import faiss  # optional: the extra `retrieval`

    cosine = metric == "cosine"
    kind = faiss.METRIC_INNER_PRODUCT if cosine else faiss.METRIC_L2
    sign = -1 if cosine else 1  # the smallest is the nearest
    shape = (len(queries), num_candidates)
    far = np.full(shape, np.inf, np.float32)
    candidates = np.zeros(shape, np.int64)
    for first in range(0, len(bank), block_rows):
        block = prepare(bank[first : first + block_rows])
        in_block = min(num_candidates, len(block))
        for begin in range(0, len(queries), QUERY_ROWS):
            some = slice(begin, begin + QUERY_ROWS)
            found, rows = faiss.knn(
                prepare(queries[some]), block, in_block, kind
            )
            # Earlier blocks come first, and their lower rows are preferred.
            both = np.concatenate([far[some], sign * found], axis=1)
            rows = np.concatenate([candidates[some], rows + first], axis=1)
            best = np.argsort(both, axis=1, kind="stable")[:, :num_candidates]
            far[some] = np.take_along_axis(both, best, axis=1)
            candidates[some] = np.take_along_axis(rows, best, axis=1)
    return candidates


def _unit(rows):
    """Rows `[n, D]` scaled to length 1; zeros stay."""
    return rows / _lengths(rows)


def _lengths(rows):
    """`[n, 1]`; 1 for a row of zeros, which it then divides into zeros."""
    # As `units.unit_rows`, but without an array of all squares.
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return np.where(lengths > 0, lengths, 1)


def _centred(bank):
    """A function that subtracts the mean: |y|^2 loses less precision."""
    centre = bank.mean(axis=0, dtype=np.float64).astype(np.float32)
    return lambda rows: rows - centre


def _checked(name, rows):
    rows = np.ascontiguousarray(rows, np.float32)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(
            f"{name} must be [N, D] with N and D of at least 1. Received: "
            f"shape {rows.shape}. Flatten or pool what comes after the first "
            "axis."
        )
    # A sum over each row, because N x D booleans would double the memory.
    bad = np.count_nonzero(~np.isfinite(rows.sum(axis=1)))
    if bad:
        raise ValueError(
            f"{name} must be finite. Received: nan, inf, or values whose sum "
            f"overflows float32 in {bad} of {len(rows)} rows. Look for a "
            "diverged backbone."
        )
    return rows


def _check(bank, queries, num_neighbors, to_others, metric, block_rows):
    if metric not in METRICS:
        raise ValueError(
            f"metric must be one of {', '.join(METRICS)}. Received: "
            f"metric={metric!r}."
        )
    if bank.shape[1] != queries.shape[1]:
        raise ValueError(
            "queries must be as wide as rows. Received: queries of width "
            f"{queries.shape[1]}, rows of width {bank.shape[1]}."
        )
    most = len(bank) - to_others
    if not 1 <= num_neighbors <= most:
        raise ValueError(
            f"num_neighbors must be at least 1 and at most {most} with "
            f"{len(bank)} rows. Received: num_neighbors={num_neighbors}. Give "
            "more rows, or fewer neighbours."
        )
    if block_rows < 1:
        raise ValueError(
            "block_rows must be an int of at least 1. Received: "
            f"block_rows={block_rows}."
        )
