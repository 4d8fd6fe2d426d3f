"""Clusters that change a batch at a time, against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from tests.support.oracles_clusters import Memories
from tfclust.ops import cluster_memory
from tfclust.ops.two_means import two_means


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def random_clusters(seed, num_rows, num_clusters, width=3, sizes=None):
    """`Clusters` and the loops' `Memories` of the same rows and labels."""
    generator = np.random.default_rng(seed)
    rows = np.float32(unit(generator.normal(size=(num_rows, width))))
    if sizes is None:
        labels = generator.integers(num_clusters, size=num_rows)
    else:
        labels = np.repeat(np.arange(num_clusters), sizes)
    clusters = cluster_memory.Clusters(
        rows.copy(),
        np.zeros(num_rows, np.int32),
        np.zeros((num_clusters, width), np.float32),
        np.zeros((num_clusters, width)),
        np.zeros(num_clusters, np.int64),
    )
    cluster_memory.relabel_all(clusters, labels)
    return clusters, Memories(rows, labels, num_clusters), generator


def assert_same(clusters, memories):
    num_clusters = len(clusters.counts)
    np.testing.assert_array_equal(clusters.labels, memories.labels)
    # Rows that nearly cancel when mixed lose digits of float32.
    np.testing.assert_allclose(clusters.rows, memories.rows, atol=1e-4)
    np.testing.assert_allclose(
        clusters.centroids, memories.centroids, atol=1e-4
    )
    one_hot = np.eye(num_clusters)[clusters.labels]
    np.testing.assert_array_equal(clusters.counts, one_hot.sum(axis=0))
    np.testing.assert_allclose(
        clusters.sums, one_hot.T @ clusters.rows.astype(float), atol=1e-9
    )


def halve_as(seed, smallest_part):
    """The loops' way to halve: 2-means, or keyed random halves."""

    def halve(rows, heir):
        part = two_means(rows)
        if min(part.sum(), (~part).sum()) < smallest_part:
            key = (seed, heir)
            order = np.random.default_rng(key).permutation(len(rows))
            part = order < len(rows) // 2
        return part

    return halve


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 4))
def test_steps_match_plain_loops(seed, limit, smallest_part):
    clusters, memories, generator = random_clusters(seed, 24, 4)
    for step in range(4):
        index = generator.integers(24, size=8)  # some come twice
        new_rows = np.float32(unit(generator.normal(size=(8, 3))))
        written = cluster_memory.update_rows(clusters, index, new_rows, 0.5)
        memories.update(index, new_rows, 0.5)
        np.testing.assert_array_equal(written, np.unique(index))
        assert_same(clusters, memories)
        if step % 2:
            cluster_memory.refresh_centroids(clusters)
            for cluster in range(4):
                memories.refresh(cluster)
        before = clusters.labels.copy()
        moved = cluster_memory.remove_small(
            clusters, limit, smallest_part=smallest_part, seed=(step,)
        )
        memories.remove_small(limit, halve_as(step, smallest_part))
        assert_same(clusters, memories)
        assert set(np.flatnonzero(before != clusters.labels)) <= set(moved)


def test_small_clusters_go_and_the_largest_is_halved():
    clusters, memories, _ = random_clusters(0, 40, 4, sizes=[30, 7, 2, 1])
    cluster_memory.remove_small(clusters, 3, smallest_part=3)
    assert memories.remove_small(3, halve_as(0, 3)) == [2, 1]
    assert_same(clusters, memories)
    assert clusters.counts.min() >= 3


def test_an_empty_cluster_keeps_its_centroid():
    clusters, _, _ = random_clusters(1, 20, 3, sizes=[10, 10, 0])
    clusters.centroids[2] = 7
    cluster_memory.refresh_centroids(clusters)
    np.testing.assert_array_equal(clusters.centroids[2], [7, 7, 7])


def test_clusters_that_are_all_small_keep_the_largest():
    clusters, memories, _ = random_clusters(2, 9, 4, sizes=[4, 2, 2, 1])
    cluster_memory.remove_small(clusters, 100)
    assert memories.remove_small(100, halve_as(0, 1)) == [2, 2, 1]
    assert_same(clusters, memories)
    assert clusters.counts.min() >= 1
    even, _, _ = random_clusters(2, 8, 4, sizes=[2, 2, 2, 2])
    assert not len(cluster_memory.remove_small(even, 100))  # none is smaller


def test_a_cluster_of_equal_rows_is_halved_at_random_and_repeatably():
    found = []
    for seed in ((5, 1), (5, 1), (5, 2)):
        clusters, _, _ = random_clusters(0, 20, 2, sizes=[20, 0])
        clusters.rows[:] = clusters.rows[0]
        cluster_memory.relabel_all(clusters, np.zeros(20))
        cluster_memory.remove_small(clusters, 1, seed=seed)
        np.testing.assert_array_equal(clusters.counts, [10, 10])
        found.append(clusters.labels.copy())
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_no_cluster_is_small_where_parts_may_not_be(seed, limit):
    generator = np.random.default_rng(seed)
    sizes = generator.multinomial(50, generator.dirichlet(np.full(5, 0.2)))
    clusters, _, _ = random_clusters(seed, 50, 5, sizes=sizes)
    # 2 * K * limit <= N: the largest always has twice the limit.
    cluster_memory.remove_small(clusters, limit, smallest_part=limit)
    assert clusters.counts.min() >= limit


@pytest.mark.parametrize("seed", range(5))
def test_two_means_finds_what_scikit_learn_finds(seed):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(60, 4))
    rows[:25, 0] += 4  # two groups that touch
    part = two_means(np.float32(rows + 100))
    expected = KMeans(2, n_init=10, random_state=0).fit(rows)
    labels = expected.labels_ == expected.labels_[0]
    np.testing.assert_array_equal(~part, labels)


@pytest.mark.parametrize("seed", range(3))
def test_two_means_is_as_tight_as_scikit_learn_without_groups(seed):
    rows = np.random.default_rng(seed).normal(size=(200, 16))
    expected = KMeans(2, n_init=10, random_state=0, max_iter=20).fit(rows)
    part = two_means(rows)
    inertia = sum(
        np.sum((rows[side] - rows[side].mean(axis=0)) ** 2)
        for side in (part, ~part)
    )
    assert inertia < 1.01 * expected.inertia_


def test_two_means_of_few_rows():
    assert not two_means(np.ones([7, 3])).any()
    assert not two_means(np.ones([1, 3])).any()
    assert two_means(np.array([[0.0], [1.0]])).sum() == 1
    with pytest.raises(ValueError, match=r"n >= 1.*\(0, 3\)"):
        two_means(np.ones([0, 3]))
