"""What a plan settles, without training anything."""

import dataclasses
import math

import pytest

from tfclust import optimizers, options
from tfclust.engine.planning import Setting
from tfclust.methods import deepcluster
from tfclust.methods.configs.table import CONFIGS
from tfclust.runs import recipes
from tfclust.runs.facts import facts as run_facts
from tfclust.training import checks
from tfclust.training.notices import notices
from tfclust.training.planning import lengths, settling
from tfclust.training.planning.limits import Limits
from tfclust.training.planning.looking import Look
from tfclust.training.planning.starting import Start
from tfclust.training.planning.timing import Timing

TIMING = Timing(
    start_seconds=20.0,
    step_seconds=0.2,
    label_seconds=1.0,  # a pass
    figures_seconds=2.0,
    peak_bytes=2**30,
)


ANY_SIZE = Limits()
CPU, GPU = (settling.Machine(gpu=gpu) for gpu in (False, True))


def looked_at(num_images, short_side=100, grey=False):
    return Look(num_images, short_side, 2 * short_side, grey, 0.3)


def given_for(method, **knobs):
    labels = {"pseudo_labels": "source"} if method == "fixed_labels" else {}
    return {"method": method, "data": "digits:", **labels, **knobs}


def planned(look, *args, **given):
    """The recipe of a plan, and its settings, from figures made up here."""
    return planned_with_facts(look, *args, **given)[:2]


def planned_with_facts(
    look, minutes=15.0, machine=CPU, start=None, limits=ANY_SIZE, **given
):
    """The same and the `PlanFacts`."""
    some = {} if {"epochs", "steps"} & set(given) else {"steps": 9}
    draft = recipes.make_recipe(**given, **some)
    known = settling.Known(draft, given, look, machine, start, limits)
    facts = settling.facts(known, 2000)
    length = lengths.length(facts, TIMING, minutes, given, passes=1.0)
    facts = facts._replace(total_steps=length.steps)
    settings = {
        **settling.settle(known, facts),
        **lengths.by_time(facts, TIMING, length),
    }
    values = {name: setting.value for name, setting in settings.items()}
    return recipes.make_recipe(**{**values, **given}), settings, facts


@pytest.mark.parametrize("num_images", [16, 40, 320, 4_000, 1_281_167])
@pytest.mark.parametrize("method", CONFIGS)
def test_every_method_has_a_plan_that_passes_all_checks(method, num_images):
    recipe, settings = planned(looked_at(num_images), **given_for(method))
    checks.check_alone(recipe, needed=())
    if method == "deepcluster":
        deepcluster._check_sizes(recipe.method, num_images, width=128)
    if recipe.method.num_clusters:  # fixed labels bring their own
        recipe.method.check_images(num_images, recipe.run.batch_size)
    assert recipe.run.batch_size <= num_images // 4
    for name, setting in settings.items():
        assert isinstance(setting, Setting) and setting.why, name


@pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("num_images", [16, 40, 100, 100_000, 1_000_000])
@pytest.mark.parametrize("method", CONFIGS)
def test_a_run_remarks_on_nothing_that_a_plan_settled(
    method, num_images, machine
):
    look, given = looked_at(num_images, short_side=300), given_for(method)
    recipe, _, facts = planned_with_facts(look, machine=machine, **given)
    assert notices(recipe, run_facts(recipe, facts)) == []


@pytest.mark.parametrize("method", CONFIGS)
def test_what_is_given_stays(method):
    given = given_for(method, image_size=24, batch_size=16, learning_rate=0.07)
    recipe, _ = planned(looked_at(500), **given)
    assert recipe.run.image_size == recipe.views.view_sizes[0] == 24
    assert recipe.run.batch_size == 16
    assert recipe.optimizer.learning_rate == 0.07


@pytest.mark.parametrize(
    ("method", "given", "settled"),
    [
        # Each made a run of settings that nobody gave, or none at all.
        ("swav", {"learning_rate": 0.01}, {"start_learning_rate": 0.0005}),
        ("swav", {"warmup_epochs": 0.0}, {"start_learning_rate": 0.0}),
        ("swav", {"optimizer": "adamw"}, {"learning_rate": 0.0005}),
        ("swav", {"optimizer": "lars"}, {"learning_rate": 0.3}),
        ("swav", {"stored_size": 90}, {"view_sizes": (32, 20)}),
        ("swav", {"queue_rows": 0}, {"batch_size": 64}),
        ("deepcluster", {"schedule": "cosine"}, {"rate_drops": None}),
        ("deepcluster", {"projection_width": 8}, {"pca_width": 8}),
        ("swav", {"augmentation": "none"}, {"flip_probability": None}),
        ("swav", {"color_jitter": (0.1,) * 4}, {"jitter_strength": None}),
    ],
)
def test_what_depends_on_a_given_knob_follows_it(method, given, settled):
    recipe, settings = planned(looked_at(2_000), **given_for(method, **given))
    checks.check_alone(recipe, needed=())
    for name, value in settled.items():
        assert (name in settings) == (value is not None)
        if value is not None:
            assert settings[name].value == value


@pytest.mark.parametrize("method", CONFIGS)
def test_sizes_are_checked_once_they_are_settled(method):
    given = given_for(method, stored_size=90, steps=9)
    checks.check_alone(recipes.make_recipe(**given), ("data",), sizes=False)


def test_given_labels_may_tell_by_colour():
    _, settings = planned(looked_at(2_000), **given_for("fixed_labels"))
    assert settings["grey_probability"].value == 0.0


@pytest.mark.parametrize(
    ("num_images", "told"), [(2_000, True), (40_000, False)]
)
def test_a_plan_tells_that_deepcluster_is_not_watched(num_images, told):
    given = given_for("deepcluster")
    recipe, settings, facts = planned_with_facts(looked_at(num_images), **given)
    watched = recipe.method.watched(run_facts(recipe, facts))
    assert bool(watched) != told
    assert ("stops nothing" in settings["on_trouble"].why) == told


def test_a_plan_tells_why_there_is_no_queue():
    _, settings = planned(looked_at(2_000), **given_for("swav"))
    assert settings["queue_rows"].value == 0


def test_views_of_ones_own_replace_all_of_the_plans():
    recipe, _ = planned(looked_at(500), **given_for("swav", num_views=(2,)))
    assert (recipe.views.num_views, recipe.views.view_sizes) == ((2,), ())


@pytest.mark.parametrize("minutes", [5, 15, 60])
def test_a_plan_fills_the_minutes(minutes):
    look = looked_at(20_000)
    recipe, _ = planned(look, minutes, **given_for("swav"))
    epochs = recipe.run.epochs
    steps = epochs * (look.num_images // recipe.run.batch_size)
    figures = epochs / recipe.run.checkpoint_epochs
    seconds = TIMING.seconds(steps, epochs, figures)
    an_epoch = TIMING.seconds(steps // epochs, 1, 1)
    assert seconds <= 60 * minutes
    assert seconds > 0.9 * 60 * minutes - an_epoch  # whole epochs


@pytest.mark.parametrize("method", CONFIGS)
def test_images_that_are_too_many_for_an_epoch_fill_the_minutes_by_steps(
    method,
):
    look = looked_at(1_000_000)  # 52 minutes an epoch
    recipe, settings = planned(look, 15, **given_for(method))
    seconds = TIMING.seconds(recipe.run.steps, 0, 1)
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


def test_figures_take_a_tenth_of_a_tiny_epochs_time():
    recipe, _ = planned(looked_at(320), **given_for("swav"))
    steps = recipe.run.knn_epochs * (320 // recipe.run.batch_size)
    share = TIMING.figures_seconds / (steps * TIMING.step_seconds)
    assert share <= 0.1
    assert recipe.run.checkpoint_epochs == recipe.run.knn_epochs


def test_a_length_that_is_given_is_kept():
    given = given_for("swav", epochs=7)
    recipe, settings = planned(looked_at(640), **given)
    assert recipe.run.epochs == 7
    assert "as given" in settings["epochs"].why


def test_grey_images_are_not_made_grey():
    recipe, _ = planned(looked_at(500, grey=True), **given_for("swav"))
    assert recipe.views.grey_probability == 0.0


@pytest.mark.parametrize(
    ("gpu", "replicas", "num_images", "batch"),
    [
        (False, 1, 334, 64),
        (True, 2, 334, 82),  # 83 are a quarter of them
        (True, 3, 10_000, 255),
        (True, 6, 10_000, 252),
        (True, 8, 20, 8),
    ],
)
def test_replicas_share_a_batch_evenly(gpu, replicas, num_images, batch):
    machine = settling.Machine(gpu, replicas)
    recipe, _ = planned(
        looked_at(num_images), machine=machine, **given_for("swav")
    )
    assert recipe.run.batch_size == batch


@pytest.mark.parametrize("method", CONFIGS)
@pytest.mark.parametrize(
    ("limits", "short_side", "sides"),
    [
        (Limits(63, one_size=True), 300, {63}),  # AlexNet
        (Limits(48, 48, one_size=True), 300, {48}),  # a transformer
        (Limits(75), 300, {75}),  # InceptionV3
        (Limits(75), 40, {75}),
        (Limits(16), 300, {32, 20}),
    ],
)
def test_views_have_sizes_that_the_network_takes(
    method, limits, short_side, sides
):
    look = looked_at(2_000, short_side)
    recipe, settings = planned(look, limits=limits, **given_for(method))
    checks.check_alone(recipe, needed=())
    assert set(recipe.views.view_sizes) <= sides
    assert recipe.run.image_size == max(sides)


def test_tiny_images_are_not_enlarged():
    recipe, _ = planned(looked_at(500, short_side=9), **given_for("swav"))
    assert recipe.run.image_size == 8


def test_trained_weights_are_given_a_lower_rate_and_frozen_first_stages():
    fresh, _ = planned(looked_at(500), **given_for("swav"))
    trained, _ = planned(
        looked_at(500), start=Start({}), **given_for("swav", init_from="runs/a")
    )
    assert (fresh.backbone.frozen_stages, trained.backbone.frozen_stages) == (
        0,
        2,
    )
    rates = [r.optimizer.learning_rate for r in (fresh, trained)]
    assert math.isclose(rates[1], rates[0] / 10, rel_tol=0.1)


@pytest.mark.parametrize(
    ("image_size", "machine", "views"),
    [
        (32, CPU, (32, 20)),
        (32, GPU, (32, 20)),
        (224, CPU, (96, 40)),  # what a CPU carries
        (224, GPU, (224, 96)),
        (None, CPU, (96, 40)),
    ],
)
def test_given_weights_see_images_of_the_size_that_they_know(
    image_size, machine, views
):
    given = given_for("swav", init_from="runs/a")
    start = Start({"backbone": "resnet18", "width": 2}, image_size)
    look = looked_at(500, short_side=300)
    recipe, _ = planned(look, machine=machine, start=start, **given)
    assert recipe.views.view_sizes == views
    assert recipe.backbone.backbone == "resnet18"
    assert recipe.backbone.width == 2


def test_a_plan_settles_nothing_that_it_need_not():
    """Settings that equal a knob's default would only be noise."""
    _, settings = planned(looked_at(2_000), **given_for("swav"))
    defaults = {
        field.name: field.default
        for part in (*recipes.CONFIGS.values(), CONFIGS["swav"])
        for field in dataclasses.fields(part)
    }
    assert set(settings) <= set(defaults)
    for name in settings:
        assert options.text(settings[name].value) is not None
