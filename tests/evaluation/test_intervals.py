"""Intervals against SciPy's bootstrap."""

import numpy as np
import pytest
from scipy import stats

from tfclust.evaluation import intervals
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


def test_interval_of_partitions_is_that_of_a_plain_loop():
    random = np.random.default_rng(0)
    labels = random.integers(4, size=300)
    clusters = np.where(random.random(300) < 0.7, labels, 0)

    low, high = intervals.of_pairs(
        partitions.nmi, labels, clusters, resamples=300, seed=0
    )

    drawn = [random.integers(300, size=300) for _ in range(500)]
    loop = [partitions.nmi(labels[rows], clusters[rows]) for rows in drawn]
    value = partitions.nmi(labels, clusters)
    expected = value + np.quantile(loop, [0.025, 0.975]) - np.mean(loop)
    np.testing.assert_allclose([low, high], expected, atol=0.03)
    assert low < value < high
    again = intervals.of_pairs(
        partitions.nmi, labels, clusters, resamples=300, seed=0
    )
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
        low, high = intervals.of_pairs(
            partitions.ami, *drawn(200), resamples=60, seed=seed
        )
        held += low <= truth <= high
    # 19 expected; 14 or fewer in one of 3,000 cases. Without moving: 1.
    assert held >= 15
