"""What a run's first lines say of settings that were seen to fail."""

import pytest

from tests.support import small_runs
from tfclust.engine.facts import RunFacts
from tfclust.training.notices import notices


def told(workdir, *, jitter_strength=0.0, side=32, batch=64, **knobs):
    recipe = small_runs.recipe(
        workdir, batch_size=batch, image_size=side, **knobs
    )
    facts = RunFacts(
        num_images=6400,
        batch_size=batch,
        total_steps=1000,
        steps_per_epoch=100,
        learning_rate=recipe.optimizer.learning_rate,
        jitter_strength=jitter_strength,
    )
    return " ".join(notices(recipe, facts))


def test_usual_settings_are_not_remarked_on(tmp_path):
    assert told(tmp_path, jitter_strength=0.5, learning_rate=0.4) == ""


@pytest.mark.parametrize(("side", "warns"), [(32, True), (224, False)])
def test_strong_colours_are_remarked_on_at_few_pixels(tmp_path, side, warns):
    said = told(tmp_path, jitter_strength=1.0, side=side)
    assert ("--jitter_strength=0.5" in said) == warns


@pytest.mark.parametrize(
    ("rate", "batch", "optimizer", "warns"),
    [
        (4.8, 4096, "lars", False),
        (4.8, 256, "lars", True),
        (0.6, 64, "lars", False),
        (0.8, 64, "sgd", False),  # a plan's, which learnt more than 0.3
        (0.001, 64, "adamw", False),
        (0.4, 64, "adamw", True),
        (0.4, 64, "lamb", True),
    ],
)
def test_a_rate_of_a_larger_batch_or_another_optimizer_is_remarked_on(
    tmp_path, rate, batch, optimizer, warns
):
    knobs = {"learning_rate": rate, "batch": batch, "optimizer": optimizer}
    assert ("published rates belong" in told(tmp_path, **knobs)) == warns


def test_the_methods_own_notices_come_first(tmp_path):
    said = told(tmp_path, freeze_steps=5000, jitter_strength=1.0)
    assert said.index("--freeze_steps") < said.index("--jitter_strength")
