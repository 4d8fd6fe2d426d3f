"""Clusters of features against scikit-learn's k-means and metrics."""

import numpy as np
import pytest
from sklearn import metrics
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from tests.support import small_runs
from tfclust import data
from tfclust.evaluate import EvaluateConfig
from tfclust.evaluation import (
    EvaluationConfig,
    Network,
    PseudoLabels,
    agreement,
    evaluate,
    evaluate_clusters,
    format_table,
)
from tfclust.evaluation.protocols.pseudo_labels import evaluate_pseudo_labels
from tfclust.training import measuring


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


def first_pixel(images):
    """A backbone of images whose first pixel tells the class."""
    return images[:, 0, 0]


def classes_source(num_images=60, *, num_classes=3, seed=0):
    """Noise, the first pixel of which is red, green or blue."""
    random = np.random.default_rng(seed)
    labels = np.arange(num_images) % num_classes
    images = random.integers(0, 256, [num_images, 8, 8, 3], np.uint8)
    images[:, 0, 0] = 255 * np.eye(num_classes, 3, dtype=np.uint8)[labels]
    return data.ArraySource(images, labels)


def measured(network, protocols=("clusters",), train=None, **knobs):
    return evaluate(
        {"trained": network, "other": first_pixel},
        train,
        classes_source(seed=1),
        EvaluationConfig(protocols=protocols, cluster_restarts=1, **knobs),
        image_size=8,
    )


def test_several_numbers_of_clusters_and_the_methods_own_are_judged():
    def red_or_not(images):
        return images[:, 0, 0, 0] > 0.5

    results = measured(
        Network(first_pixel, clusters=red_or_not), evaluation_clusters=(3, 6)
    )

    figures = results["trained"]["clusters"]
    assert figures["num_clusters"] == 3 and figures["others"] == [6]
    assert figures["accuracy"] == figures["purity"] == 1.0
    assert figures["purity_k6"] == 1.0
    labels = np.arange(60) % 3
    own = labels == 0
    assert figures["own_num_clusters"] == 2
    assert figures["own_ami"] == pytest.approx(
        metrics.adjusted_mutual_info_score(labels, own)
    )
    # The red ones, and one of the two others' classes.
    assert figures["own_accuracy"] == figures["own_purity"] == 2 / 3
    assert 1 / 3 < figures["own_purity_chance"] < 2 / 3
    assert "own_ami" not in results["other"]["clusters"]
    lines = format_table(results).splitlines()
    assert any(line.startswith("6-means, AMI") for line in lines)
    (own_line,) = (x for x in lines if x.startswith("own clusters, AMI"))
    assert own_line.split()[-2:] == ["-", "0.000"]


@pytest.mark.parametrize(
    ("knobs", "num_classes", "words"),
    [
        ({"evaluation_clusters": (3, 61)}, 3, "61 clusters, 60 test images"),
        ({}, 1, "1 clusters, 60 test images.*or classes"),
    ],
)
def test_impossible_clusters_are_refused_before_any_pass(
    knobs, num_classes, words
):
    def never_called(images):
        raise AssertionError("a forward pass before the checks")

    with pytest.raises(ValueError, match=words):
        evaluate(
            {"trained": never_called},
            None,
            classes_source(num_classes=num_classes),
            EvaluationConfig(protocols=("clusters",), **knobs),
            image_size=8,
        )


def test_intervals_of_agreement_come_when_asked():
    labels, clusters = np.arange(200) % 4, np.arange(200) % 7
    assert agreement.interval_figures(labels, clusters, 0, seed=0) == {}
    found = agreement.interval_figures(labels, labels, 20, seed=0)
    assert found["ami_interval"] == pytest.approx([1.0, 1.0])
    one_head = agreement.interval_figures(labels, labels[:, None], 20, seed=0)
    assert one_head == found
    assert set(found) == {
        f"{name}_interval"
        for name in ("nmi", "ami", "ari", "purity", "accuracy")
    }


def test_pseudo_labels_are_judged_head_by_head_without_the_unseen():
    random = np.random.default_rng(0)
    labels = random.integers(4, size=100)
    rows = np.stack([labels, random.integers(9, size=100)], axis=1)
    rows[:10, 0], rows[5, 1] = -1, -1

    figures = evaluate_pseudo_labels(rows, labels)

    second = np.delete(np.arange(100), 5)
    scores = [
        1.0,
        metrics.adjusted_mutual_info_score(labels[second], rows[second, 1]),
    ]
    assert figures["ami"] == pytest.approx(np.mean(scores))
    assert figures["num_clusters"] == (4 + 9) / 2
    assert figures["unassigned"] == pytest.approx(11 / 200)
    assert "ami_interval" not in figures
    drawn = evaluate_pseudo_labels(rows, labels, resamples=20)
    low, high = drawn["ami_interval"]
    # The mean of 1, whatever is drawn, and of what is near 0.
    assert 0.45 < low < figures["ami"] < high < 0.7
    with pytest.raises(ValueError, match="Train for an epoch"):
        evaluate_pseudo_labels(np.full([5, 1], -1), labels[:5])


@pytest.mark.parametrize(
    "uneven", [{"imbalance": "heavy"}, {"class_shares": (0.5,) * 10}]
)
def test_pseudo_labels_of_an_uneven_run_are_judged_on_what_it_saw(
    tmp_path, uneven
):
    recipe = small_runs.recipe(
        tmp_path, max_images=None, eval_data="digits:?split=test", **uneven
    )
    command = EvaluateConfig(workdir=str(tmp_path))

    def digest(*protocols):
        train, _ = measuring.open_labelled(
            command, EvaluationConfig(protocols=protocols), recipe
        )
        return train.manifest_hash

    seen = data.open_source(recipe.run.data, **uneven)
    # The test images have a class that none of heavy's has.
    assert digest("pseudo_labels", "clusters") == seen.manifest_hash
    whole = data.open_source(recipe.run.data)
    assert digest("knn") == whole.manifest_hash != seen.manifest_hash


def test_pseudo_labels_need_the_images_of_the_training():
    train = classes_source(30)
    rows = np.asarray(train.labels)[:, None]
    own = Network(
        first_pixel, pseudo_labels=PseudoLabels(rows, train.manifest_hash)
    )

    results = measured(own, ("pseudo_labels",), train)

    assert results["trained"]["pseudo_labels"]["accuracy"] == 1.0
    assert results["other"]["pseudo_labels"] == {}
    other = own._replace(pseudo_labels=PseudoLabels(rows, "others"))
    with pytest.raises(ValueError, match="30 of array:, for 30 labels"):
        measured(other, ("pseudo_labels",), train)
    with pytest.raises(ValueError, match="Give --workdir of a run"):
        measured(first_pixel, ("pseudo_labels",), train)
