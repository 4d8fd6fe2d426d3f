"""The first sentence of a page says in a word how the run does."""

import pytest

from tests.support import small_runs
from tests.support.epoch_figures import FIGURES
from tfclust.reporting.verdict import judge
from tfclust.runs.loading import RememberedViews

VIEWS = RememberedViews(
    num_images=6000,
    batch_size=60,
    num_views=2,
    num_global_views=2,
    steps_per_epoch=100,
    image_size=8,
    resize_size=8,
    seed=0,
)
COLLAPSED = {"effective_clusters": 1.2, "largest_cluster_share": 0.9}


@pytest.mark.parametrize(
    ("figures", "directions", "sentence"),
    [
        ({}, 20.0, "The run is healthy after {step} of 1,000 steps."),
        (COLLAPSED, 20.0, "The run is collapsing after {step} of"),
        (COLLAPSED | {"loss_over_log_k": 1.0}, 20.0, "The run is collapsing"),
        ({}, 1.5, "The run is collapsing after {step} of"),
        ({"loss_over_log_k": 1.0}, 20.0, "The run is stuck after {step} of"),
        ({"nmi_previous": 0.01}, 20.0, "The run is stuck after {step} of"),
        ({"loss_over_log_k": 1.5}, 20.0, "The run is diverging after"),
        ({"input_wait_milliseconds": 900.0}, 20.0, "Something is wrong after"),
    ],
)
def test_verdict_is_healthy_collapsing_or_stuck(
    tmp_path, figures, directions, sentence
):
    recipe = small_runs.recipe(tmp_path, num_clusters=60, epochs=10)
    last = {**FIGURES, **figures}
    found = judge(recipe, VIEWS, [last], directions)
    assert found.sentence.startswith(sentence.format(step=last["step"]))
    assert (found.kind == "healthy") == ("healthy" in sentence)
    assert all(found.more)
