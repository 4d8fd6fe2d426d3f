"""No figure is measured on images whose labels a run has learnt."""

import pytest

from tests.support import small_runs
from tfclust import data
from tfclust.evaluation import EvaluationConfig
from tfclust.training.unseen import check_unseen

LABELLED = {
    "method": "fixed_labels",
    "pseudo_labels": "source",
    "num_clusters": None,
    "freeze_steps": None,
    "max_images": None,
}


def checked(test, protocols=("knn", "filters"), **knobs):
    """What is said of test images beside a small run."""
    recipe, said = small_runs.recipe("runs/labels", **knobs), []
    config = EvaluationConfig(protocols=protocols)
    check_unseen("runs/labels", recipe, config, test, "", said.append)
    return said


def held_out(uri="digits:?split=train"):
    return data.held_out(data.open_source(uri)).test


@pytest.mark.parametrize(
    ("knobs", "shared"),
    [({}, 287), ({"max_images": 50}, 10), ({"imbalance": "light"}, 273)],
)
def test_held_out_images_of_a_supervised_run_are_refused(knobs, shared):
    words = f"{shared} of 287 images are among those that runs/labels.*--test_"
    with pytest.raises(ValueError, match=words):
        checked(held_out(), **{**LABELLED, **knobs})


def test_other_images_and_what_compares_with_no_labels_are_measured():
    assert not checked(held_out("digits:?split=test"), **LABELLED)
    assert not checked(held_out(), ("filters", "unlabelled"), **LABELLED)
    assert not checked(held_out())  # SwAV has seen no label


def test_run_whose_images_are_gone_is_measured_with_a_warning(tmp_path):
    gone = f"folder:{tmp_path / 'gone'}"
    (line,) = checked(held_out(), **{**LABELLED, "data": gone})
    assert "runs/labels has learnt labels of images that cannot be" in line
