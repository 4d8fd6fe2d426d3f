"""A method without clusters is trained, resumed, measured and exported."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.support.small_runs import interrupted, quietly, recipe
from tests.support.teacher_method import Student, StudentConfig
from tfclust import evaluate, methods, options, saved_model
from tfclust.evaluation import EvaluationConfig
from tfclust.export import ExportConfig
from tfclust.methods.configs.table import CONFIGS
from tfclust.runs import checkpoints, exporting, metrics
from tfclust.training import measuring

pytestmark = pytest.mark.usefixtures("one_block")


@pytest.fixture(scope="module", autouse=True)
def listed():
    """`student` is a method as the others are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(methods.METHODS, "student", Student)
        patch.setitem(CONFIGS, "student", StudentConfig)
        # The knob's choices were read off the table.
        patch.setattr(options, "_check_value", lambda *knob: None)
        yield


def of_student(workdir, **knobs):
    return recipe(
        workdir,
        method="student",
        num_clusters=None,
        freeze_steps=None,
        hidden_width=8,
        knn_images=40,
        clip_norm=5.0,
        final_weight_decay=1e-3,
        **knobs,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return quietly(of_student(tmp_path_factory.mktemp("finished")))


def test_its_lines_and_figures_are_without_clusters(finished, capsys):
    trained, said = finished
    first, second = metrics.read_metrics(trained.workdir)
    assert second["knn_accuracy"] > 0
    assert second["knn_chance"] == 3 / 8  # three of one digit
    assert not {"effective_clusters", "loss_over_log_k"} & set(second)
    assert not any("cluster" in line for line in said)


@pytest.mark.slow
def test_its_run_says_that_nothing_is_watched(tmp_path):
    trained, said = quietly(
        of_student(tmp_path, steps=1, on_trouble="stop", epochs=None)
    )
    assert trained.step == 1
    assert "Nothing is watched: this method has no figures" in said[1]


@pytest.mark.slow  # the contract's run goes on to the bit in make test
def test_stopped_and_gone_on_it_has_the_same_bits(finished, tmp_path):
    trained, _ = finished
    stopped, _ = interrupted(of_student(tmp_path), 5)
    assert (stopped.step, stopped.interrupted) == (6, True)
    resumed, _ = quietly(of_student(tmp_path))
    expected = checkpoints.latest(trained.workdir).arrays
    found = checkpoints.latest(tmp_path).arrays
    assert any(name.startswith("teacher/") for name in expected)
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert resumed.step == 8


@pytest.mark.slow
def test_it_is_exported_and_measured_without_clusters(finished):
    trained, _ = finished
    version = exporting.export(ExportConfig(str(trained.workdir)))
    card = json.loads((version / saved_model.CARD_FILE).read_text())
    assert set(card["outputs"]) == {"features", "projections", "status"}
    loaded = tf.saved_model.load(str(version))
    images = tf.zeros([2, 8, 8, 3])
    found = loaded.signatures["images"](images=images)
    assert set(found) == {"features", "projections"}
    results = measuring.measure(
        evaluate.EvaluateConfig(saved_model=str(version)),
        EvaluationConfig(protocols=("knn",)),
    )
    assert set(results) == {"trained", "untrained", "pixels", "colours"}
    assert results["trained"]["knn"]["top1"] > 0.1
