"""What is said of clusters without labels, against hand calculations."""

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from tests.evaluation.test_run import (
    FAST,
    coloured_source,
    mean_colour,
    one_number,
)
from tfclust import evaluation
from tfclust.evaluation import EvaluationConfig
from tfclust.evaluation.protocols import unlabelled

FOUND = {
    "stability": 0.8,
    "stability_chance": 0.1,
    "effective_clusters": 11.96,
    "silhouette": 0.3,
    "num_clusters": 13,
    "num_images": 1320,
}


def test_stability_and_its_chance_equal_a_hand_calculation():
    first, second = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1])
    # Shares 1/2, 1/4, 1/4 and 1/4, 3/4, 0: 1/8 + 3/16.
    assert unlabelled.stability(first, second, 3) == {
        "stability": 0.5,
        "stability_chance": 0.3125,
    }


def test_a_crop_is_in_the_cluster_of_the_nearest_centroid():
    random = np.random.default_rng(0)
    rows, centroids = random.normal(size=(20, 4)), random.normal(size=(5, 4))
    distances = np.linalg.norm(rows[:, None] - centroids, axis=2)
    np.testing.assert_array_equal(
        unlabelled.nearest(rows, centroids), distances.argmin(axis=1)
    )


def test_silhouette_is_scikit_learns_by_cosine_and_needs_two_clusters():
    rows = np.random.default_rng(0).normal(size=(30, 4))
    clusters = np.arange(30) % 3
    expected = silhouette_score(rows, clusters, metric="cosine")
    assert unlabelled.silhouette(rows, clusters, 0) == pytest.approx(expected)
    assert unlabelled.silhouette(rows, np.zeros(30), 0) is None
    assert unlabelled.silhouette(rows, np.arange(30), 0) is None


def test_images_without_labels_are_measured_by_what_needs_none():
    results = evaluation.evaluate(
        {"trained": mean_colour, "untrained": one_number},
        None,
        coloured_source(60, with_labels=False),
        EvaluationConfig(evaluation_clusters=(3,), **FAST),
        image_size=8,
    )
    assert list(results["trained"]) == ["unlabelled"]
    found = results["trained"]["unlabelled"]
    assert found["stability"] > 0.95 and found["num_images"] == 60
    # Twenty images of each of three colours.
    assert found["stability_chance"] == pytest.approx(1 / 3, abs=0.02)
    assert found["effective_clusters"] == pytest.approx(3, abs=0.05)
    assert found["silhouette"] > 0.5
    (sentence,) = evaluation.verdicts(results)
    assert sentence == found["verdict"]
    assert "steadier and further apart" in sentence
    table = evaluation.format_table(results).splitlines()
    assert table[2].startswith("3-means, two crops in one cluster %")
    assert table[2].endswith("33.3")


def test_crops_of_an_image_are_two_and_repeat_with_the_seed():
    def pixels_of():
        subject = evaluation.Subject(
            evaluation.pixels, None, coloured_source(9), image_size=8
        )
        return subject.crop_features

    first, second = pixels_of()
    assert first.shape == second.shape == (9, 192)
    assert (first != second).any(axis=1).all()
    np.testing.assert_array_equal(pixels_of(), [first, second])


@pytest.mark.parametrize(
    ("stability", "silhouette", "words"),
    [
        (0.8, 0.3, "steadier and further apart"),
        (0.8, 0.1, "steadier, not further apart: little is learnt yet"),
        (0.4, 0.3, "further apart, not steadier: little is learnt yet"),
        (0.4, None, "neither steadier nor further apart: nothing is learnt"),
    ],
)
def test_verdict_compares_with_the_untrained_network(
    stability, silhouette, words
):
    trained = {**FOUND, "stability": stability, "silhouette": silhouette}
    untrained = {**FOUND, "stability": 0.4, "silhouette": 0.1}
    results = {"trained": trained, "untrained": untrained}
    sentence = unlabelled.verdict(results)
    assert words in sentence
    assert sentence.startswith(
        "Two crops of an image are in the same of 13 clusters for "
        f"{stability:.1%} of 1,320 images (10.0% by chance); 12.0 clusters "
        "are in use. The untrained network: 40.0% (10.0%)."
    )


def test_verdict_of_the_trained_alone_compares_with_nothing():
    sentence = unlabelled.verdict({"trained": FOUND})
    assert sentence.endswith("12.0 clusters are in use.")
    assert unlabelled.verdict({"mine": FOUND}) is None


def test_colours_as_steady_as_the_network_are_told():
    results = {
        "trained": FOUND,
        "untrained": {**FOUND, "stability": 0.4, "silhouette": 0.1},
        "colours": {**FOUND, "stability": 0.85},
    }
    assert "colours alone are as steady (85.0%)" in unlabelled.verdict(results)
