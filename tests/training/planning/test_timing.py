"""What a plan counts and measures as the time and memory of a run."""

import math
import time
import types

import numpy as np
import pytest
import tensorflow as tf

from tests.support.small_runs import recipe
from tfclust import data
from tfclust.engine.planning import PlanFacts
from tfclust.methods.sela import label_steps
from tfclust.training.planning import timing

FACTS = PlanFacts(
    num_images=64_000, batch_size=64, view_size=32, total_steps=30_000
)
ANY = {"num_clusters": (9,), "freeze_steps": None, "hidden_width": None}


def passes(method, facts=FACTS, **knobs):
    made = recipe("unused", **{**ANY, "method": method, **knobs})
    return timing.label_passes(made, facts)


@pytest.mark.parametrize(
    ("method", "knobs", "expected"),
    [
        ("swav", {}, 0),
        ("coke", {}, 0),
        ("odc", {}, 0),  # once, at the start
        ("deepcluster_v2", {}, 29),  # thirty epochs, the first at the start
        ("sela_v2", {}, 29),
        ("deepcluster", {}, 29),
        ("deepcluster", {"reassign_epochs": 4}, 7),
    ],
)
@pytest.mark.parametrize("num_images", [640, 64_000, 1_000_000])
def test_labels_are_counted_by_their_methods_rule(
    method, knobs, expected, num_images
):
    facts = FACTS._replace(num_images=num_images)
    facts = facts._replace(total_steps=30 * facts.steps_per_epoch)
    assert passes(method, facts, **knobs) == expected


@pytest.mark.parametrize("schedule", ["even", "quadratic"])
@pytest.mark.parametrize("count", [10, 100])
def test_selas_labels_are_counted_as_they_fall(schedule, count):
    due = label_steps(
        count, schedule, epochs=30, num_images=64_000, batch_size=64
    )
    knobs = {"num_label_steps": count, "label_schedule": schedule}
    expected = len([step for step in due if 0 < step < 30_000])
    # Of a hundred, some fall together between two of a miniature's steps.
    assert math.isclose(passes("sela", **knobs), expected, abs_tol=1)


def test_a_part_of_an_epoch_has_no_later_labels():
    facts = FACTS._replace(total_steps=900)
    assert passes("deepcluster_v2", facts) == 0


@pytest.mark.parametrize("from_memory", [False, True])
def test_later_labels_need_no_pass_over_images_where_they_have_a_memory(
    from_memory,
):
    def reassign(extract):
        assert int(method.epoch.numpy()) == 0  # later, memories may be empty
        extract("units")
        time.sleep(0.02)

    method = types.SimpleNamespace(
        epoch=tf.Variable(5, dtype=tf.int64),
        labels_from_memory=from_memory,
        extract=lambda what: time.sleep(0.05),
        reassign_due=lambda step: step == 0,
        reassign=reassign,
    )
    first, later = timing._label_seconds(method)
    # sleep() may oversleep; never undersleeps.
    assert first >= 0.07 and later >= 0.02
    assert (first - later >= 0.05) == from_memory


@pytest.mark.parametrize(
    ("labels", "knn_images", "image_size", "expected"),
    [
        # 2 s to read an image, 0.5 s in the network; 1,000 images.
        ([0], 100, 32, (200.0, 50.0, 2500.0)),
        ([0], 0, 32, (0.0, 0.0, 2500.0)),
        (None, 100, 32, (0.0, 0.0, 2500.0)),
        ([0], 100, 2048, (0.0, 250.0, 2500.0)),  # which no memory keeps
    ],
)
def test_images_that_a_knn_keeps_are_read_once(
    monkeypatch, labels, knn_images, image_size, expected
):
    monkeypatch.setattr(timing, "_image_seconds", lambda *of: (2.0, 0.5))
    source = types.SimpleNamespace(labels=labels)
    views = types.SimpleNamespace(image_size=image_size)
    method = types.SimpleNamespace(views=views)
    found = timing._later_seconds(method, source, 1000, knn_images)
    assert found == expected


def test_a_runs_time_counts_what_comes_once_and_what_comes_often():
    measured = timing.Timing(20.0, 2.0, 5.0, 7.0, 90.0, peak_bytes=0)
    knobs = {"checkpoint_epochs": 2, "checkpoint_steps": 10, "knn_epochs": 5}
    run = recipe("unused", **knobs).run
    found = measured.seconds(steps=100, epochs=10, passes=3, run=run)
    files = 10 * timing.EPOCH_SECONDS + 15 * timing.CHECKPOINT_SECONDS
    expected = 20.0 + 100 * 2.0 + 3 * 5.0 + 2 * 7.0 + 90.0 + files
    assert found == pytest.approx(expected)


def test_a_part_of_the_images_stands_for_all(monkeypatch, tmp_path):
    def labels(method):
        # As those of a network that has learnt, which take more passes.
        assert method.config.label_tolerance == 0
        assert method.config.label_iters == 60
        return 3000.0, 200.0

    for name, value in {
        "_SAMPLE": 16,  # of 64 images
        "_SECONDS": 0.0,  # as few steps as there can be
        "_MOST_SECONDS": 0.0,
        "_reading_seconds": lambda views: 1000.0,
        "_label_seconds": labels,
        "_peak_bytes": lambda: 0,
    }.items():
        monkeypatch.setattr(timing, name, value)
    knobs = {
        **ANY,
        "num_clusters": (40,),
        "batch_size": 8,
        "stored_size": 8,
        "steps": 1000,
    }
    made = recipe(tmp_path, **knobs, epochs=None, method="sela_v2")
    source = data.open_source("digits:", max_images=64)
    strategy = tf.distribute.get_strategy()
    measured = timing.measure(made, source, strategy)
    # Three times more of what is done once with each image.
    assert 3 * 4000 <= measured.start_seconds < 3 * 4000 + 500
    assert measured.label_seconds == 4 * 200
    # Pixels; a label and the last cluster; projections of two views, and of
    # one as labels are made.
    an_image = 3 * 8 * 8 + 4 + 4 + (2 + 1) * 4 * 8
    assert np.isclose(measured.peak_bytes, 48 * an_image, rtol=0.05)
