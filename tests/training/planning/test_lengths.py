"""How long a planned run is, without training anything."""

import pytest

from tests.support.plans import TIMING, given_for, looked_at, planned
from tfclust import optimizers
from tfclust.methods.configs.table import CONFIGS
from tfclust.training.planning.timing import CHECKPOINT_SECONDS


@pytest.mark.parametrize("minutes", [5, 15, 60])
def test_a_plan_fills_the_minutes(minutes):
    look = looked_at(20_000)
    recipe, _ = planned(look, minutes, **given_for("swav"))
    epochs = recipe.run.epochs
    steps = epochs * (look.num_images // recipe.run.batch_size)
    seconds = TIMING.seconds(steps, epochs, epochs, recipe.run)
    an_epoch = TIMING.seconds(steps // epochs, 1, 1, recipe.run)
    assert seconds <= 60 * minutes
    assert seconds > 0.9 * 60 * minutes - an_epoch  # whole epochs


@pytest.mark.parametrize("method", CONFIGS)
def test_images_that_are_too_many_for_an_epoch_fill_the_minutes_by_steps(
    method,
):
    look = looked_at(1_000_000)  # 52 minutes an epoch
    recipe, settings = planned(look, 15, **given_for(method))
    seconds = TIMING.seconds(recipe.run.steps, 1, 0, recipe.run)
    assert recipe.run.epochs is None and "epochs" not in settings
    assert 0.9 * 15 * 60 < seconds <= 15 * 60
    assert "less than an epoch" in settings["steps"].why
    per_epoch = 1_000_000 // recipe.run.batch_size
    rate = optimizers.learning_rate(
        recipe.optimizer,
        steps_per_epoch=per_epoch,
        total_steps=recipe.run.steps,
    )
    # Clusters may form first, for a part of the run.
    assert float(rate(recipe.run.steps // 5)) > 0.5 * float(
        recipe.optimizer.learning_rate
    )


@pytest.mark.parametrize(
    ("num_images", "length"),
    [(80, {"epochs": 1}), (1_000_000, {"steps": 100})],
)
def test_minutes_that_are_too_few_are_told(num_images, length):
    recipe, settings = planned(looked_at(num_images), 0.1, **given_for("swav"))
    ((knob, value),) = length.items()
    assert getattr(recipe.run, knob) == value
    assert "0.1 minutes have no time for them" in settings[knob].why


@pytest.mark.parametrize("given", [{"epochs": 2}, {"steps": 31}])
def test_a_plan_has_one_length(given):
    _, settings = planned(looked_at(2_000), **given_for("swav", **given))
    assert {"epochs", "steps"} & set(settings) == set(given)


def test_checkpoints_and_neighbours_take_a_tenth_of_a_tiny_epochs_time():
    run = planned(looked_at(320), **given_for("swav"))[0].run
    epoch = 320 // run.batch_size * TIMING.step_seconds
    saving = CHECKPOINT_SECONDS / (run.checkpoint_epochs * epoch)
    assert saving + TIMING.knn_seconds / (run.knn_epochs * epoch) <= 0.1


@pytest.mark.parametrize(
    ("num_images", "knn_seconds"), [(320, 500.0), (20_000, 0), (1_000_000, 2.0)]
)
def test_an_interruption_loses_a_minute_or_two_at_most(num_images, knn_seconds):
    """However long a kNN takes, an epoch, or a run of less than one."""
    timing = TIMING._replace(knn_seconds=knn_seconds)
    run = planned(looked_at(num_images), timing=timing, **given_for("swav"))[
        0
    ].run
    steps = num_images // run.batch_size * run.checkpoint_epochs
    steps = min(steps, run.checkpoint_steps or steps)
    assert steps * timing.step_seconds <= 120


def test_a_length_that_is_given_is_kept():
    given = given_for("swav", epochs=7)
    recipe, settings = planned(looked_at(640), **given)
    assert recipe.run.epochs == 7
    assert "as given" in settings["epochs"].why
