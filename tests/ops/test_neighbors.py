"""Nearest rows against plain NumPy and scikit-learn, by both searches."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from tfclust.ops import neighbors
from tfclust.ops.neighbors import METRICS, nearest_neighbors

BOTH = pytest.mark.parametrize("use_faiss", [False, True])


def random_rows(num_rows, width=8, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=[num_rows, width]).astype(np.float32)


def neighbors_loop(rows, queries, k, metric, *, to_others=False):
    """Index and distances by loops, in float64."""
    rows, queries = np.float64(rows), np.float64(queries)
    index, distances = [], []
    for i, query in enumerate(queries):
        if metric == "cosine":
            lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
            all_distances = 1 - rows @ query / lengths
        else:
            all_distances = ((rows - query) ** 2).sum(axis=1)
        if to_others:
            all_distances[i] = np.inf
        index.append(np.argsort(all_distances, kind="stable")[:k])
        distances.append(all_distances[index[-1]])
    return np.array(index), np.array(distances)


# derandomize: rows whose distances agree to float32's last digit, one in some
# ten thousand, may come in either order.
@BOTH
@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    num_rows=st.integers(2, 90),
    num_neighbors=st.integers(1, 20),
    metric=st.sampled_from(METRICS),
    block_rows=st.sampled_from([7, 64, 1000]),
    far=st.sampled_from([0.0, 30.0]),
    seed=st.integers(0, 10**6),
)
def test_neighbors_match_a_numpy_loop(
    use_faiss, num_rows, num_neighbors, metric, block_rows, far, seed
):
    rows = random_rows(num_rows, seed=seed) + np.float32(far)
    k = min(num_neighbors, num_rows - 1)

    found = nearest_neighbors(
        rows, k, metric=metric, use_faiss=use_faiss, block_rows=block_rows
    )

    index, distances = neighbors_loop(rows, rows, k, metric, to_others=True)
    # Float32 rounding of squares, and of the cosine of rows of length 85.
    np.testing.assert_allclose(found.distances, distances, 1e-4, 1e-6)
    if far == 0 or metric != "cosine":
        np.testing.assert_array_equal(found.index, index)
    assert (found.index.dtype, found.distances.dtype) == ("int64", "float32")


@pytest.mark.parametrize("metric", METRICS)
def test_both_searches_give_the_same_bits(metric, monkeypatch):
    monkeypatch.setattr(neighbors, "QUERY_ROWS", 500)
    rows, queries = load_digits().data, random_rows(100, 64, seed=1)
    for among in (None, queries):
        one, two = (
            nearest_neighbors(
                rows, 9, queries=among, metric=metric, use_faiss=use_faiss
            )
            for use_faiss in (False, True)
        )
        np.testing.assert_array_equal(one.index, two.index)
        np.testing.assert_array_equal(one.distances, two.distances)


@BOTH
def test_neighbors_are_those_of_scikit_learn(use_faiss):
    rows, queries = random_rows(500, 16), random_rows(40, 16, seed=1)
    for metric in METRICS:
        name = {"squared_euclidean": "sqeuclidean"}.get(metric, metric)
        search = NearestNeighbors(n_neighbors=9, metric=name).fit(rows)
        for among in (None, queries):
            distances, index = search.kneighbors(among)
            found = nearest_neighbors(
                rows,
                9,
                queries=among,
                metric=metric,
                use_faiss=use_faiss,
                block_rows=64,
            )
            np.testing.assert_array_equal(found.index, index)
            np.testing.assert_allclose(found.distances, distances, 1e-5, 1e-6)


@BOTH
def test_of_equal_neighbors_the_first_row_comes_first(use_faiss):
    twins = np.repeat(random_rows(3), 3, axis=0)
    found = nearest_neighbors(twins, 2, use_faiss=use_faiss, block_rows=4)
    expected = [[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4], [7, 8]]
    np.testing.assert_array_equal(found.index[:7], expected)
    np.testing.assert_array_equal(found.distances, np.zeros([9, 2]))


def test_the_first_of_many_equal_rows_are_named():
    row = np.ones([1, 3], np.float32)
    found = nearest_neighbors(
        row.repeat(10, axis=0), 4, queries=row, use_faiss=False, block_rows=3
    )
    np.testing.assert_array_equal(found.index, [[0, 1, 2, 3]])


@BOTH
def test_a_row_is_no_neighbor_of_its_own_even_among_equal_ones(use_faiss):
    rows = np.ones([40, 3], np.float32)
    found = nearest_neighbors(rows, 5, use_faiss=use_faiss)
    assert not (found.index == np.arange(40)[:, None]).any()
    assert all(len(set(row)) == 5 for row in found.index.tolist())


@BOTH
def test_a_row_of_zeros_has_cosine_0_to_all(use_faiss):
    rows = np.float32([[0, 0], [1, 0], [0, 2], [3, 3]])
    found = nearest_neighbors(rows, 3, metric="cosine", use_faiss=use_faiss)
    np.testing.assert_allclose(found.distances[0], [1, 1, 1])
    half = 1 - np.sqrt(0.5)
    np.testing.assert_allclose(found.distances[3], [half, half, 1], atol=1e-6)


@BOTH
def test_close_rows_far_from_the_origin_keep_their_distance(use_faiss):
    # |x|^2 is 3e6 and float32 keeps 0.25 of it; the distance is 0.01.
    line = np.arange(6, dtype=np.float32)[:, None] / 8
    rows = np.float32(1000) + line * np.float32([1, 0, 0])
    found = nearest_neighbors(rows, 1, use_faiss=use_faiss)
    np.testing.assert_array_equal(found.distances, np.full([6, 1], 1 / 64))


def test_without_faiss_the_search_is_tensorflows(monkeypatch):
    monkeypatch.setattr(neighbors.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "faiss", None)  # importing it fails
    rows = random_rows(30)
    found = nearest_neighbors(rows, 3)
    index, _ = neighbors_loop(
        rows, rows, 3, "squared_euclidean", to_others=True
    )
    np.testing.assert_array_equal(found.index, index)
    with pytest.raises(ModuleNotFoundError):
        nearest_neighbors(rows, 3, use_faiss=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_neighbors": 10}, "at most 9 with 10 rows"),
        ({"num_neighbors": 0}, "num_neighbors=0"),
        ({"queries": np.ones([4, 3])}, "width 3, rows of width 2"),
        ({"queries": np.ones([4, 2]), "num_neighbors": 11}, "at most 10"),
        ({"metric": "manhattan"}, "squared_euclidean, cosine"),
        ({"rows": np.ones([10])}, "Flatten or pool"),
        ({"rows": np.full([10, 2], np.nan)}, "10 of 10 rows"),
        ({"block_rows": 0}, "block_rows=0"),
    ],
)
def test_impossible_arguments_are_named(change, words):
    arguments = {"rows": np.ones([10, 2]), "num_neighbors": 3, **change}
    with pytest.raises(ValueError, match=words):
        nearest_neighbors(**arguments)
