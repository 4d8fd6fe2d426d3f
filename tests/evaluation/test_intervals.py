"""Intervals against SciPy's bootstrap."""

import numpy as np
import pytest
from scipy import stats

from tfclust.evaluation import intervals, scores
from tfclust.ops import partitions


def test_interval_of_a_share_is_the_bootstraps():
    random = np.random.default_rng(0)
    right = random.random(400) < 0.8

    low, high = intervals.of_share(right.mean(), 400)

    found = stats.bootstrap(
        (right.astype(float),), np.mean, n_resamples=20000, method="percentile"
    ).confidence_interval
    # Steps of one image in 400, and the limits of 20,000 draws.
    assert low == pytest.approx(found.low, abs=1.5 / 400)
    assert high == pytest.approx(found.high, abs=1.5 / 400)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_interval_where_all_or_none_are_right_is_a_point(share):
    assert intervals.of_share(share, 50) == [share, share]


def agreeing(figure, labels, clusters, *, resamples, seed=0):
    """[low, high] of the agreement of partitions."""
    found = intervals.of_figures(
        lambda rows: {"x": figure(labels[rows], clusters[rows])},
        len(labels),
        resamples=resamples,
        seed=seed,
        moved=True,
    )
    return found["x_interval"]


def test_interval_of_partitions_is_that_of_a_plain_loop():
    random = np.random.default_rng(0)
    labels = random.integers(4, size=300)
    clusters = np.where(random.random(300) < 0.7, labels, 0)

    low, high = agreeing(partitions.nmi, labels, clusters, resamples=300)

    drawn = [random.integers(300, size=300) for _ in range(500)]
    loop = [partitions.nmi(labels[rows], clusters[rows]) for rows in drawn]
    value = partitions.nmi(labels, clusters)
    expected = value + np.quantile(loop, [0.025, 0.975]) - np.mean(loop)
    np.testing.assert_allclose([low, high], expected, atol=0.03)
    assert low < value < high
    again = agreeing(partitions.nmi, labels, clusters, resamples=300)
    assert again == [low, high]


def test_interval_of_ami_holds_the_truth_though_draws_have_copies():
    random = np.random.default_rng(0)

    def drawn(count):
        labels = random.integers(10, size=count)
        other = random.integers(10, size=count)
        return labels, np.where(random.random(count) < 0.35, labels, other)

    truth = partitions.ami(*drawn(200_000))
    held = 0
    for seed in range(20):
        low, high = agreeing(
            partitions.ami, *drawn(200), resamples=60, seed=seed
        )
        held += low <= truth <= high
    # 19 expected; 14 or fewer in one of 3,000 cases. Without moving: 1.
    assert held >= 15


def test_several_figures_have_the_same_draws():
    values = np.random.default_rng(0).normal(size=50)
    calls = []

    def figures(rows):
        calls.append(rows)
        return {"mean": values[rows].mean(), "least": values[rows].min()}

    found = intervals.of_figures(figures, 50, resamples=30, seed=0)

    assert len(calls) == 31 and list(found) == [
        "mean_interval",
        "least_interval",
    ]
    drawn = [figures(rows) for rows in calls[1:31]]
    for name in ("mean", "least"):
        limits = np.quantile([of[name] for of in drawn], [0.025, 0.975])
        np.testing.assert_allclose(found[f"{name}_interval"], limits)


def test_intervals_of_means_are_scipys():
    values = np.random.default_rng(0).random(80)
    found = intervals.of_means({"mAP": values}, resamples=100, seed=3)
    expected = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=100,
        batch=1,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    np.testing.assert_allclose(found["mAP_interval"], expected)


def test_no_interval_where_there_is_none():
    def of_draw(rows):
        return {"a": float(len(set(rows))), "b": np.nan}

    knobs = {"resamples": 5, "seed": 0}
    assert intervals.of_figures(of_draw, 1, **knobs) == {}
    assert intervals.of_figures(of_draw, 9, resamples=0, seed=0) == {}
    assert list(intervals.of_figures(of_draw, 9, **knobs)) == ["a_interval"]
    assert intervals.of_means({"mAP": np.zeros(0)}, **knobs) == {}


def ranked(random, count=300):
    """Scores `[N, 2]`, and which of two classes images have."""
    sets = (random.random([count, 2]) < [0.1, 0.3]).astype(np.int8)
    return sets * 1.2 + random.normal(size=sets.shape), sets


def test_interval_of_map_holds_what_other_images_give_though_copies_raise_it():
    random = np.random.default_rng(0)
    others = [
        scores.mean_average_precision(*ranked(random))["map_area"]
        for _ in range(100)
    ]
    held = 0
    for seed in range(20):
        found = scores.map_intervals(*ranked(random), 40, seed)
        low, high = found["map_area_interval"]
        held += low <= np.mean(others) <= high
    # 19 expected; 14 or fewer in one of 3,000 cases.
    assert held >= 15
