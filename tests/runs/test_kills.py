"""The stress of kills in small; `make bench` has 50 of all kinds."""

import collections
import random

import pytest

from tests.benchmarks import bench_kills
from tests.benchmarks.bench_kills import Kill


@pytest.mark.slow
def test_run_killed_twice_ends_as_one_that_never_was(tmp_path):
    """Half of the images are checked; some of a checkpoint's arrays written."""
    images = bench_kills.write_images(tmp_path / "images")
    kills = [
        Kill(bench_kills.SCAN, 32),
        Kill(bench_kills.CHECKPOINT, 120, stage="_entry"),
    ]
    found, met = bench_kills.compare("swav", kills, images, tmp_path)
    assert met == {bench_kills.SCAN: 1, bench_kills.CHECKPOINT: 1}
    assert found is None


@pytest.mark.parametrize("name", bench_kills.METHODS)
def test_kills_of_a_method_come_at_all_its_moments(name):
    kills = bench_kills.plan(name, 7, random.Random(0))
    moments = collections.Counter(kill.moment for kill in kills)
    reassigns = name in (*bench_kills.REASSIGNS, *bench_kills.ONCE)
    assert len(kills) == 7
    assert moments[bench_kills.SCAN] == 1
    assert moments[bench_kills.CHECKPOINT] and moments[bench_kills.STEP]
    assert (moments[bench_kills.REASSIGN] > 0) == reassigns


def test_every_method_is_killed():
    from tfclust import methods

    assert set(bench_kills.METHODS) == set(methods.METHODS)
