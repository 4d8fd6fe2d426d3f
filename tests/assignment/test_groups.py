"""Clusters of features, and how images lie among them."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from tests.support.assigned import blobs, unit_features
from tfclust.assignment import choosing, figures, groups
from tfclust.assignment.config import ClusterConfig


@pytest.fixture(scope="module")
def five():
    return blobs(5)


def test_features_are_read_at_unit_length_in_blocks(monkeypatch):
    monkeypatch.setattr("tfclust.assignment.unit_features._BLOCK_FLOATS", 8)
    features = unit_features([[3, 4], [0, 0], [0, -2], [1, 0], [5, 12]])
    parts = [rows for _, rows in features.blocks()]
    assert [len(part) for part in parts] == [4, 1]
    expected = [[0.6, 0.8], [0, 0], [0, -1], [1, 0], [5 / 13, 12 / 13]]
    np.testing.assert_allclose(np.concatenate(parts), expected, rtol=1e-6)


def test_kmeans_finds_separate_groups(five):
    features, labels = five
    found = groups.by_kmeans(features, 5, seed=0)
    assert adjusted_rand_score(labels, found.labels) == 1
    assert (found.confidence > 0.5).all() and not found.noise.any()


def test_more_clusters_than_images_are_refused():
    features, _ = blobs(2, each=3)
    with pytest.raises(ValueError, match="6 images cannot fill 7 clusters"):
        groups.by_kmeans(features, 7, seed=0)


def test_hdbscan_gives_noise_to_the_nearest_dense_centre_and_marks_it(five):
    features, labels = five
    rows = features.take(np.arange(len(features)))
    far = np.random.default_rng(9).normal(size=(6, rows.shape[1]))
    found = groups.by_hdbscan(unit_features([*rows, *far]), min_cluster_size=9)
    assert adjusted_rand_score(labels, found.labels[:300]) == 1
    # A point that leaves a group late still counts as its own.
    assert found.noise[300:].mean() > 0.8 and found.noise[:300].mean() < 0.1
    far = far / np.linalg.norm(far, axis=1, keepdims=True)
    squares = ((far[:, None] - found.centres) ** 2).sum(axis=2)
    np.testing.assert_array_equal(found.labels[300:], squares.argmin(axis=1))


def test_hdbscan_of_a_sample_places_all_images(five, monkeypatch):
    monkeypatch.setattr(groups, "_HDBSCAN_ROWS", 120)
    features, labels = five
    found = groups.by_hdbscan(features)
    assert adjusted_rand_score(labels, found.labels) == 1
    assert found.noise.mean() < 0.3


def test_features_without_dense_groups_are_told():
    rows = np.random.default_rng(0).normal(size=(40, 20))
    with pytest.raises(ValueError, match="no dense group.*Lower min_cluster"):
        groups.by_hdbscan(unit_features(rows), min_cluster_size=30)


def test_means_and_figures_equal_a_loop_over_images(five):
    features, _ = five
    labels = np.random.default_rng(1).integers(0, 4, len(features))
    labels[labels == 2] = 5  # 2 and 4 are empty
    found = groups.own(features, labels, np.zeros(len(labels)))
    rows = features.take(np.arange(len(features)))
    for k in (0, 1, 3, 5):
        expected = rows[labels == k].mean(axis=0)
        np.testing.assert_allclose(found.centres[k], expected, atol=1e-6)
    assert not found.centres[[2, 4]].any()
    measured = figures.measure(features, found)
    for i in range(0, len(rows), 17):
        cosines = {
            k: rows[i] @ found.centres[k] / np.linalg.norm(found.centres[k])
            for k in (0, 1, 3, 5)
        }
        own = cosines.pop(labels[i])
        assert measured.distance[i] == pytest.approx(1 - own, abs=1e-5)
        assert measured.second[i] == max(cosines, key=cosines.get)


def test_one_cluster_has_no_second_choice():
    features, _ = blobs(1)
    found = groups.own(features, np.zeros(60, int), np.ones(60))
    assert (figures.measure(features, found).second == -1).all()


def test_groups_that_stay_empty_are_no_second_choice():
    features = unit_features(np.ones([40, 8]))
    found = groups.by_kmeans(features, 3, seed=0)
    assert len({*found.labels.tolist()}) == 1 and len(found.centres) == 3
    assert (figures.measure(features, found).second == -1).all()


def test_outlier_lies_three_deviations_beyond_the_median():
    distance = np.r_[np.linspace(0.1, 0.2, 41), 0.9].astype(np.float32)
    reach = figures.reaches(distance, np.zeros(42, int), 1)
    middle = np.median(distance)
    deviation = 1.4826 * np.median(np.abs(distance - middle))
    assert reach[0] == pytest.approx(middle + 3 * deviation, abs=2e-5)
    assert distance[-1] > reach[0] > distance[-2]


def test_small_cluster_takes_the_spread_of_all():
    labels = np.r_[np.zeros(40, int), 1, 1]
    distance = np.r_[np.linspace(0.1, 0.2, 40), 0.3, 0.3001]
    reach = figures.reaches(distance, labels, 2)
    assert reach[1] > 0.35  # its own two say nothing of the spread


@pytest.mark.parametrize("number", [3, 8])
def test_auto_finds_the_number_of_blobs(number):
    features, _ = blobs(number)
    found = choosing.tried(features, seed=0)
    assert choosing.advised(found) == number
    best = next(one for one in found if one.num_clusters == number)
    assert best.stability > 0.99 and best.silhouette > 0.5 > best.by_chance
    lines = [*choosing.in_words(found)]
    (taken,) = (line for line in lines if "<- taken" in line)
    assert taken.split()[0] == str(number)


def test_auto_refuses_images_that_are_all_alike():
    with pytest.raises(ValueError, match="no two images that differ"):
        choosing.tried(unit_features(np.ones([60, 8])), seed=0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("sizes", [(30, 30), (50, 9, 1), (59, 1)])
def test_auto_tries_no_more_clusters_than_images_that_differ(sizes):
    features = unit_features(np.repeat(np.eye(8)[: len(sizes)], sizes, axis=0))
    found = choosing.tried(features, seed=0)
    tried = [one.num_clusters for one in found]
    assert tried == [*range(2, len(sizes) + 1)]


def test_auto_needs_some_images():
    with pytest.raises(ValueError, match="at least 30 images"):
        choosing.tried(blobs(2, each=10)[0], seed=0)


@pytest.mark.parametrize("words", ["0", "-3", "many", "1.5", "٣", "50001"])
def test_other_numbers_of_clusters_are_refused(words):
    with pytest.raises(ValueError, match="a number from 1 to 50,000"):
        ClusterConfig(workdir="a", num_clusters=words)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_hdbscan_of_too_few_images_is_refused_in_a_sentence(count):
    rows = np.eye(8)[:count]
    with pytest.raises(ValueError, match=f"Received: {count} with min_cluster"):
        groups.by_hdbscan(unit_features(rows))
