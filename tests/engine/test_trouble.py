"""A run in trouble is told from one that learns slowly, by its figures."""

import dataclasses

import pytest

from tfclust import methods
from tfclust.engine import trouble
from tfclust.engine.config import MethodConfig
from tfclust.engine.facts import RunFacts

SWAV = methods.SwAV.Config(num_clusters=(60,), freeze_steps=0)
GOOD = {
    "loss": 2.0,
    "loss_over_log_k": 0.5,
    "effective_clusters": 50.0,
    "empty_clusters": 2.0,
}
FAULTS = {
    "wild": {"loss_over_log_k": 1.6},
    "flat": {"loss_over_log_k": 1.0},
    "collapsed": {"effective_clusters": 1.2},
    "empty": {"empty_clusters": 40.0},
}


def facts(steps_per_epoch=25, total_steps=500, **more):
    images = 60 * steps_per_epoch
    return RunFacts(images, 60, total_steps, steps_per_epoch, **more)


def history(steps_per_epoch, *epochs, **columns):
    """Figures of epochs; a column is a figure with a value for each."""
    if columns:
        rows = zip(*columns.values(), strict=True)
        epochs = [dict(zip(columns, row, strict=True)) for row in rows]
    return [
        {**GOOD, **figures, "epoch": i, "step": i * steps_per_epoch}
        for i, figures in enumerate(epochs, 1)
    ]


def ends_at(config, facts, epochs):
    """(symptom, step) at which the run is ended; None if it is not."""
    for count in range(1, len(epochs) + 1):
        found = trouble.lasting(epochs[:count], config, facts)
        if found:
            return found.symptom, epochs[count - 1]["step"]
    return None


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_that_lasts_a_hundred_steps_ends_the_run(fault):
    epochs = history(25, {}, {}, *[FAULTS[fault]] * 5)
    assert ends_at(SWAV, facts(), epochs) == (fault, 150)
    found = trouble.lasting(epochs, SWAV, facts())
    assert found.since == 75  # of the last hundred steps


@pytest.mark.parametrize("fault", FAULTS)
def test_good_epoch_starts_the_count_again(fault):
    bad = [FAULTS[fault]] * 3
    assert ends_at(SWAV, facts(), history(25, *bad, {}, *bad, {})) is None


def test_spell_is_a_fifth_of_the_run_within_bounds_and_three_epochs():
    always = history(25, *[FAULTS["flat"]] * 300)
    assert ends_at(SWAV, facts(total_steps=7500), always) == ("flat", 1500)
    of_five = history(5, *[FAULTS["flat"]] * 60)
    assert ends_at(SWAV, facts(5, 300), of_five) == ("flat", 100)
    of_many = history(5000, *[FAULTS["flat"]] * 10)
    assert ends_at(SWAV, facts(5000, 2_000_000), of_many) == ("flat", 15_000)


@pytest.mark.parametrize("fault", FAULTS)
def test_short_runs_warm_up_and_frozen_prototypes_never_trigger(fault):
    bad = FAULTS[fault]
    assert ends_at(SWAV, facts(5, 50), history(5, *[bad] * 10)) is None
    half = [bad] * 10 + [{}] * 10
    warming = facts(25, 500, warmup_steps=250)
    assert ends_at(SWAV, warming, history(25, *half)) is None
    frozen = dataclasses.replace(SWAV, freeze_steps=250)
    assert ends_at(frozen, facts(), history(25, *half)) is None
    all_frozen = dataclasses.replace(SWAV, freeze_steps=500)
    assert ends_at(all_frozen, facts(), history(25, *[bad] * 20)) is None


def test_small_batches_may_stay_at_chance_until_their_queue_starts():
    queued = dataclasses.replace(SWAV, queue_rows=120, queue_start_epoch=8)
    early = [FAULTS["flat"]] * 8
    assert ends_at(queued, facts(), history(25, *early, {})) is None
    late = history(25, *early, *early)
    assert ends_at(queued, facts(), late) == ("flat", 300)
    collapsed = history(25, *[FAULTS["collapsed"]] * 8)
    assert ends_at(queued, facts(), collapsed) == ("collapsed", 100)


# As their runs wrote them: (config, facts, figures by epoch).
RUNS = {
    "swav, CIFAR-10": (
        methods.SwAV.Config(num_clusters=(200,), freeze_steps=156),
        facts(156, 1872),
        history(156, loss_over_log_k=[0.976, 0.945, 0.924, 0.912, 0.891]),
    ),
    "swav, 1,600 hands, learns slowly": (
        SWAV,
        facts(25, 575),
        history(25, loss_over_log_k=[1.017, 0.986, 0.956, 0.946, 0.93]),
    ),
    "sela, CIFAR-10: most clusters empty at first": (
        methods.SeLa.Config(num_clusters=(128,) * 10),
        facts(156, 1872),
        history(156, empty_clusters=[63.8, 35.6, 11.9, 5.3, 1.9, 0.9]),
    ),
    "sela, blood cells: most clusters empty, and the loss falls": (
        methods.SeLa.Config(num_clusters=(126,) * 10),
        facts(61, 1891),
        history(
            61,
            empty_clusters=[80.5, 88.1, 85.3, 84.3, 83.7, 86.1, 82.3, 80.5, 78],
            loss_over_log_k=[
                0.99,
                0.95,
                0.95,
                0.94,
                0.93,
                0.92,
                0.92,
                0.9,
                0.89,
            ],
        ),
    ),
    "coke, blood cells: duals even clusters out": (
        methods.CoKe.Config(num_clusters=(126, 168, 210)),
        facts(61, 2806),
        history(
            61,
            effective_clusters=[
                91,
                28,
                2,
                1.7,
                7.3,
                11,
                15,
                16,
                15,
                11,
                16,
                47,
            ],
            empty_clusters=[
                7,
                58,
                146,
                154,
                150,
                137,
                134,
                127,
                120,
                111,
                102,
                39,
            ],
        ),
    ),
    "two clusters, of which one has an eighth of the images": (
        methods.SwAV.Config(num_clusters=(2,), freeze_steps=0),
        facts(),
        history(25, *[{"effective_clusters": 1.47, "empty_clusters": 0}] * 20),
    ),
    "deepcluster_v2, CIFAR-10": (
        methods.DeepClusterV2.Config(num_clusters=(100,) * 3),
        facts(156, 1872),
        history(156, effective_clusters=[28.3, 69.6, 79.1, 91.5, 96.0]),
    ),
    "deepcluster, digits: a fresh classifier every five steps": (
        methods.DeepCluster.Config(num_clusters=(30,)),
        facts(5, 200),
        history(5, *[{"loss_over_log_k": 1.0, "empty_clusters": 17.0}] * 40),
    ),
    "a loss that falls from above chance": (
        methods.CoKe.Config(num_clusters=(30,)),
        facts(),
        history(25, loss_over_log_k=[2.0 - 0.05 * i for i in range(20)]),
    ),
    "a loss that creeps below chance": (
        SWAV,
        facts(),
        history(25, loss_over_log_k=[1.0 - 0.001 * i for i in range(20)]),
    ),
    "predictions too soft for a low loss": (
        dataclasses.replace(SWAV, temperature=10.0),
        facts(),
        history(25, *[{"loss_over_log_k": 0.995}] * 20),
    ),
    "as many clusters as images": (
        methods.SwAV.Config(num_clusters=(300,), freeze_steps=0),
        facts(5, 300),
        history(
            5, *[{"effective_clusters": 150.0, "empty_clusters": 140.0}] * 60
        ),
    ),
    "given classes of which one has nearly all images": (
        methods.FixedLabels.Config(num_clusters=(60,)),
        facts(),
        history(25, *[{"effective_clusters": 1.1, "empty_clusters": 55}] * 20),
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_healthy_run_is_never_ended(name):
    config, of_run, epochs = RUNS[name]
    assert ends_at(config, of_run, epochs) is None


def test_run_at_chance_from_its_second_epoch_on_is_ended_early():
    """SwAV on 1,600 photos of hands, epsilon 0.05: 23 epochs for nothing."""
    losses = [1.0182, 1.0003, 1.0001, *[1.0] * 20]
    epochs = history(25, loss_over_log_k=losses)
    of_run = facts(25, 575)
    fault, step = ends_at(SWAV, of_run, epochs)
    assert fault == "flat" and step <= 150


def test_what_is_watched_is_said():
    assert trouble.in_words(SWAV, facts()) == (
        "Ends where one of these lasts for 100 steps: a loss far above blind "
        "guessing, images in few clusters, a loss of blind guessing, half of "
        "the clusters without images (from step 0 on)."
    )
    queued = dataclasses.replace(SWAV, queue_rows=120, queue_start_epoch=8)
    assert "guessing (from step 200 on)." in trouble.in_words(queued, facts())
    nothing = "Nothing is watched: this method has no figures"
    assert nothing in trouble.in_words(MethodConfig(), facts())
    short = trouble.in_words(SWAV, facts(5, 50))
    assert "Nothing is watched: the run of 50 steps" in short
