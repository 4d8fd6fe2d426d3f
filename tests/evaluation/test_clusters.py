"""Clusters of features against scikit-learn's k-means and metrics."""

import numpy as np
import pytest
from sklearn import metrics
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from tfclust.evaluation import evaluate_clusters


def blobs(num_rows=300, *, spread=0.05, seed=0):
    """Rows around five axes, and the axis of each."""
    random = np.random.default_rng(seed)
    labels = random.integers(5, size=num_rows)
    rows = np.eye(5)[labels] + spread * random.normal(size=[num_rows, 5])
    return rows.astype(np.float32), labels


def test_separate_clusters_agree_perfectly():
    rows, labels = blobs()

    result = evaluate_clusters(rows, labels)

    assert result.num_clusters == 5
    figures = (
        result.nmi,
        result.nmi_arithmetic,
        result.ami,
        result.ari,
        result.accuracy,
    )
    np.testing.assert_allclose(figures, 1.0, atol=1e-12)


def test_figures_are_those_of_scikit_learn_by_name():
    # More clusters than classes, so that the two means of entropies differ.
    rows, labels = blobs(spread=0.5)

    result = evaluate_clusters(rows, labels, num_clusters=30)

    found = result.assignments
    nmi = metrics.normalized_mutual_info_score
    geometric = nmi(labels, found, average_method="geometric")
    arithmetic = nmi(labels, found, average_method="arithmetic")
    assert geometric - arithmetic > 0.01
    np.testing.assert_allclose(
        [result.nmi, result.nmi_arithmetic, result.ami, result.ari],
        [
            geometric,
            arithmetic,
            metrics.adjusted_mutual_info_score(labels, found),
            metrics.adjusted_rand_score(labels, found),
        ],
        atol=1e-9,
    )


def test_inertia_is_as_low_as_scikit_learns_on_digits():
    digits = load_digits()
    rows = digits.data / np.linalg.norm(digits.data, axis=1, keepdims=True)

    result = evaluate_clusters(digits.data, digits.target)

    inertia = 0.0
    for cluster in range(10):
        members = rows[result.assignments == cluster]
        inertia += ((members - members.mean(axis=0)) ** 2).sum()
    expected = KMeans(10, n_init=10, random_state=1).fit(rows).inertia_
    # Ten starts each; both end in the same valley or in one as deep.
    assert inertia <= expected * 1.002
    assert result.nmi > 0.7 and result.accuracy > 0.7


def test_lengths_of_rows_do_not_matter():
    rows, labels = blobs(spread=0.4)
    lengths = 2.0 ** np.random.default_rng(0).integers(-9, 9, size=[300, 1])

    plain = evaluate_clusters(rows, labels)
    scaled = evaluate_clusters(rows * np.float32(lengths), labels)

    np.testing.assert_array_equal(plain.assignments, scaled.assignments)


def test_labels_take_no_part_in_the_clusters():
    rows, labels = blobs(spread=0.5)
    others = np.random.default_rng(1).permutation(labels)

    result = evaluate_clusters(rows, others)

    same = evaluate_clusters(rows, labels)
    np.testing.assert_array_equal(result.assignments, same.assignments)
    # Adjusted for chance: unrelated partitions score about 0.
    assert abs(result.ami) < 0.05 and abs(result.ari) < 0.05


def test_same_seed_gives_the_same_clusters():
    rows, labels = blobs(spread=0.7)
    one = evaluate_clusters(rows, labels, seed=3)
    two = evaluate_clusters(rows, labels, seed=3)
    np.testing.assert_array_equal(one.assignments, two.assignments)


def test_identical_rows_do_not_break():
    result = evaluate_clusters(np.ones([20, 3]), np.arange(20) % 2)
    assert result.nmi == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("num_clusters", [1, 21])
def test_impossible_numbers_of_clusters_are_named(num_clusters):
    with pytest.raises(ValueError, match=f"{num_clusters} clusters, 20 test"):
        evaluate_clusters(
            np.ones([20, 3]), np.arange(20) % 2, num_clusters=num_clusters
        )
