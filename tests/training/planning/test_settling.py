"""What a plan settles, without training anything."""

import dataclasses
import math

import pytest

from tests.support.plans import (
    CPU,
    GPU,
    given_for,
    looked_at,
    planned,
    planned_with_facts,
)
from tfclust import options
from tfclust.backbones.config import frozen_at_random
from tfclust.engine.planning import Setting
from tfclust.methods import deepcluster
from tfclust.methods.configs.table import CONFIGS
from tfclust.runs import recipes
from tfclust.runs.facts import facts as run_facts
from tfclust.training import checks
from tfclust.training.notices import notices
from tfclust.training.planning import settling
from tfclust.training.planning.limits import Limits
from tfclust.training.planning.starting import Start


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
        ("swav", {"resize_size": 40}, {"image_size": 32}),
        ("swav", {"rate_drops": ((1.0, 0.1),)}, {"schedule": "constant"}),
        # Views that are given, with those of the plan beside them.
        (
            "swav",
            {"view_scales": ((0.5, 1.0),)},
            {"view_sizes": (32,), "num_views": (2,), "stored_size": 46},
        ),
        (
            "swav",
            {"num_views": (2, 6)},
            {"view_sizes": (32, 20), "stored_size": 59},
        ),
        ("swav", {"view_sizes": ()}, {"num_views": (2,), "stored_size": 59}),
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


@pytest.mark.parametrize("num_views", [(2, 4, 4), ()])
def test_views_that_no_plan_can_complete_are_refused(num_views):
    with pytest.raises(ValueError, match="num_views needs one entry for each"):
        planned(looked_at(500), **given_for("swav", num_views=num_views))


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


@pytest.mark.parametrize(
    ("init_stages", "frozen"), [(None, 2), (0, 1), (1, 2), (3, 2)]
)
def test_trained_weights_are_given_a_lower_rate_and_frozen_first_stages(
    init_stages, frozen
):
    fresh, _ = planned(looked_at(500), **given_for("swav"))
    given = given_for("swav", init_from="runs/a", init_stages=init_stages)
    trained, _ = planned(looked_at(500), start=Start({}), **given)
    assert fresh.backbone.frozen_stages == 0
    assert trained.backbone.frozen_stages == frozen
    assert frozen_at_random(trained.backbone) is None
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
