"""Groupings: consecutive labels, no empty group, centroids that fit."""

import numpy as np
import pytest
from sklearn.cluster import HDBSCAN

from tfclust.ops import groups


def rows_with_repeats():
    """60 rows at 12 places: more clusters than that must stay empty."""
    places = np.random.default_rng(0).normal(size=(12, 4))
    return np.float32(places.repeat(5, axis=0))


def blobs(seed=0):
    """Three dense balls of 40, 30 and 20 rows, and 10 rows of noise."""
    generator = np.random.default_rng(seed)
    centres = 10 * np.eye(3, 4)
    rows = centres.repeat([40, 30, 20], axis=0)
    rows = rows + 0.1 * generator.normal(size=rows.shape)
    noise = generator.uniform(-30, 30, size=(10, 4))
    return np.float32(np.concatenate([rows, noise]))


@pytest.mark.parametrize("empty", ["keep", "split", "copy"])
def test_labels_of_k_means_are_consecutive_over_filled_clusters(empty):
    rows = rows_with_repeats()
    found = groups.kmeans_groups(
        rows, 40, num_iters=5, empty=empty, seed=(0, 1), strategy=None
    )
    count = len(found.centroids)
    assert count <= 12
    np.testing.assert_array_equal(
        np.unique(found.pseudo_labels), np.arange(count)
    )
    distances = ((rows[:, None] - found.centroids) ** 2).sum(axis=2)
    own = distances[np.arange(60), found.pseudo_labels]
    np.testing.assert_allclose(own, distances.min(axis=1), atol=1e-5)


def test_density_groups_are_those_of_scikit_learn_and_noise_has_no_label():
    rows = blobs()
    found = groups.density_groups(rows, 50, min_cluster_size=8)
    expected = HDBSCAN(min_cluster_size=8, copy=True).fit(rows).labels_
    np.testing.assert_array_equal(found.pseudo_labels, expected)
    assert (found.pseudo_labels[90:] < 0).sum() >= 8
    assert len(found.centroids) == 3
    for group, centroid in enumerate(found.centroids):
        np.testing.assert_allclose(
            centroid, rows[expected == group].mean(axis=0), rtol=1e-5
        )


def test_of_too_many_groups_the_largest_stay():
    rows = np.arange(20, dtype=np.float32)[:, None]
    labels = np.repeat([4, 0, 7, -1, 2], [3, 6, 2, 4, 5])
    found = groups.mean_groups(rows, labels, 2)
    expected = np.repeat([-1, 0, -1, -1, 1], [3, 6, 2, 4, 5])
    np.testing.assert_array_equal(found.pseudo_labels, expected)
    np.testing.assert_allclose(found.centroids, [[5.5], [17.0]])


def test_means_are_those_of_a_plain_loop():
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(500, 3)).astype(np.float32)
    labels = generator.integers(-1, 9, size=500)
    found = groups.mean_groups(rows, labels, 100)
    np.testing.assert_array_equal(found.pseudo_labels, labels)
    expected = [rows[labels == group].mean(axis=0) for group in range(9)]
    np.testing.assert_allclose(found.centroids, expected, atol=1e-6)


def test_graph_groups_label_every_row():
    rows = blobs()[:90]
    found = groups.graph_groups(rows / 100, 90, seed=0)
    assert found.pseudo_labels.min() == 0
    # No edge leads from ball to ball, so no group reaches over two.
    for group in range(len(found.centroids)):
        members = np.flatnonzero(found.pseudo_labels == group)
        assert len(np.unique(np.digitize(members, [40, 70]))) == 1


def test_rows_that_hdbscan_is_not_for_are_refused_by_number():
    with pytest.raises(ValueError, match="100000 are allowed.*: 100001"):
        groups.check_density(100_001, 16)
    with pytest.raises(ValueError, match="beyond 64 values.*: 256"):
        groups.check_density(1_000, 256)


def test_noise_alone_is_refused():
    rows = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    with pytest.raises(ValueError, match="all 30 rows noise.*size=16"):
        groups.density_groups(rows, 5, min_cluster_size=16)
