"""Power iteration clustering against dense loops, and on blobs."""

import numpy as np
import pytest

from tfclust.ops.partitions import contingency
from tfclust.ops.power_iteration import PICResult, power_iteration_clustering


def unit_rows(num_rows, width=4, seed=0):
    random = np.random.default_rng(seed)
    rows = random.normal(size=[num_rows, width])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def blobs(num_blobs, rows_each, *, width=8, spread=0.05, seed=0):
    """Unit rows around orthogonal centres, and the blob of each."""
    random = np.random.default_rng(seed)
    labels = np.arange(num_blobs).repeat(rows_each)
    rows = np.eye(width)[labels]
    rows += spread * random.normal(size=rows.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), labels


def clusters_loop(rows, *, k=5, sigma=0.2, alpha=0.001, num_iters=200):
    """Labels by dense loops in float64, in order of the cluster's maximum."""
    num_rows = len(rows)
    rows = np.float64(rows)
    squares = ((rows[:, None] - rows) ** 2).sum(axis=-1)
    np.fill_diagonal(squares, np.inf)
    near = np.argsort(squares, axis=1, kind="stable")[:, :k]
    directed = np.zeros([num_rows, num_rows])
    for i in range(num_rows):
        for j in near[i]:
            directed[i, j] = np.exp(-squares[i, j] / sigma**2)
    graph = directed + directed.T
    v = np.full(num_rows, 1 / num_rows)
    for _ in range(num_iters):
        v = alpha * graph @ v + (1 - alpha) / num_rows
        v = v / v.sum()
    pointers = list(range(num_rows))
    for i in range(num_rows):
        best = 0.0
        for j in range(num_rows):
            if graph[i, j] * (v[j] - v[i]) > best:
                best = graph[i, j] * (v[j] - v[i])
                pointers[i] = j
    ends = []
    for i in range(num_rows):
        while pointers[i] != i:
            i = pointers[i]
        ends.append(i)
    merged = list(ends)
    for i in range(num_rows):
        if ends.count(ends[i]) == 1:
            larger = [j for j in near[i] if ends.count(ends[j]) > 1]
            merged[i] = ends[larger[0]] if larger else ends[i]
    return np.array(merged)


def same_partition(one, two):
    table = contingency(one, two).toarray() > 0
    return table.shape[0] == table.shape[1] == table.sum()


@pytest.mark.parametrize("width", [2, 4, 16])
@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"k": 2},
        {"k": 20, "sigma": 1.0, "alpha": 0.1},
        {"sigma": 0.05, "num_iters": 1},
    ],
)
def test_clusters_match_dense_loops(width, knobs):
    rows = unit_rows(300, width)
    names = {"num_neighbors": knobs.get("k", 5), **knobs}
    names.pop("k", None)

    result = power_iteration_clustering(rows, **names)

    expected = clusters_loop(rows, **knobs)
    assert same_partition(result.pseudo_labels, expected)
    assert result.num_clusters == len(np.unique(expected))
    assert isinstance(result, PICResult)


def test_labels_are_consecutive():
    labels, num_clusters = power_iteration_clustering(unit_rows(200))
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(np.unique(labels), np.arange(num_clusters))


@pytest.mark.parametrize("seed", range(3))
def test_each_blob_well_apart_is_one_cluster(seed):
    # With all rows of a blob joined, v has one maximum there, its middle.
    rows, expected = blobs(6, 40, seed=seed)
    result = power_iteration_clustering(rows, num_neighbors=39, sigma=1.0)
    assert result.num_clusters == 6
    assert same_partition(result.pseudo_labels, expected)


def test_with_the_papers_few_edges_no_cluster_spans_two_blobs():
    # Five edges a row leave several maxima in a blob, but none between blobs.
    rows, expected = blobs(6, 40)
    labels, num_clusters = power_iteration_clustering(rows)
    assert 6 <= num_clusters <= 240 / 3
    assert (contingency(labels, expected).toarray() > 0).sum() == num_clusters


def test_a_lone_row_joins_the_cluster_of_its_nearest_neighbor():
    rows, expected = blobs(2, 30)
    # Far from both and nearer to the second: its edges weigh nothing.
    lone = np.float32([[0.4, 0.6, 0.7, 0, 0, 0, 0, 0]])
    rows = np.concatenate([rows, lone])
    labels, _ = power_iteration_clustering(rows, num_neighbors=29)
    assert labels[-1] == labels[30]
    assert np.bincount(labels).min() > 1
    assert same_partition(labels[:-1], expected)


def test_equal_rows_are_taken():
    labels, num_clusters = power_iteration_clustering(
        np.ones([50, 3], np.float32)
    )
    assert labels.shape == (50,)
    assert 1 <= num_clusters <= 50


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"sigma": 0.0}, "sigma=0.0"),
        ({"alpha": 1.0}, "alpha=1.0"),
        ({"num_iters": 0}, "num_iters=0"),
        ({"num_neighbors": 20}, "num_neighbors=20"),
    ],
)
def test_impossible_arguments_are_named(knobs, words):
    with pytest.raises(ValueError, match=words):
        power_iteration_clustering(unit_rows(20), **knobs)
