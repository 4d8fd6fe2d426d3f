"""A recipe becomes a trained method, and a folder that resumes or is loaded."""

import json
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.processes import run_in_subprocess
from tests.support.small_runs import copied, interrupted, quietly, recipe
from tfclust import saved_model
from tfclust.engine import console
from tfclust.engine.figures import FIGURES
from tfclust.runs import checkpoints, metrics
from tfclust.training import pretraining, resuming
from tfclust.training.callbacks.label_figures import Sample

pytestmark = pytest.mark.usefixtures("one_block")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run stopped within its second epoch."""
    return interrupted(recipe(tmp_path_factory.mktemp("stopped")), 5)[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run."""
    workdir = tmp_path_factory.mktemp("finished")
    trained, _ = quietly(recipe(workdir, knn_images=64))
    return trained


def test_metrics_hold_an_object_an_epoch(finished):
    lines = (finished.workdir / "metrics.jsonl").read_text().splitlines()
    first, second = map(json.loads, lines)
    assert list(first) == [name for name, of in FIGURES.items() if not of.some]
    assert (first["epoch"], first["step"]) == (1, 4)
    assert (second["epoch"], second["step"]) == (2, 8)
    assert first["nmi_previous"] is None and second["nmi_previous"] is not None
    assert 0 <= second["knn_accuracy"] <= 1
    assert 0.1 <= second["knn_chance"] <= 1  # ten digits
    assert -0.5 <= second["ami_labels"] <= second["nmi_labels"] <= 1
    assert all(isinstance(v, float) for v in list(second.values())[2:])


def test_tensorboard_gets_the_figures(finished):
    (file,) = (finished.workdir / "tensorboard").iterdir()
    read = {}
    for record in tf.data.TFRecordDataset(str(file)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            if value.tag.startswith("cluster_sizes"):
                continue  # histograms: tests/reporting/test_tensorboard.py
            number = tf.make_ndarray(value.tensor)
            read.setdefault(value.tag, []).append((event.step, float(number)))
    losses = [f["loss"] for f in metrics.read_metrics(finished.workdir)]
    assert [step for step, _ in read["loss"]] == [4, 8]
    np.testing.assert_allclose([loss for _, loss in read["loss"]], losses)


def test_finished_run_trains_no_further(finished):
    again, said = quietly(recipe(finished.workdir))
    assert again.step == 8 and not again.interrupted
    assert "Finished already" in said[-1]


def test_a_finished_run_ends_with_the_next_commands(tmp_path):
    workdir = tmp_path / "my photos"
    _, said = quietly(recipe(workdir, epochs=1))
    measure, export = said[-1].split(" && ")
    assert measure == (
        "Next, to measure and export it: python -m tfclust.evaluate "
        f"--workdir='{workdir}'"
    )
    assert export == (
        f"python -m tfclust.export --workdir='{workdir}' "
        "--output='exports/my photos'"
    )


def test_killed_run_tells_its_repeated_epoch_once(tmp_path, finished):
    """Its last checkpoint damaged, an epoch is trained and told again."""
    copied(finished, tmp_path)
    newest = max((tmp_path / "checkpoints").iterdir())
    (newest / "manifest.json").write_text("")
    _, said = quietly(recipe(tmp_path))
    assert "damaged" in said[0] and "from step 4" in said[1]
    assert [f["epoch"] for f in metrics.read_metrics(tmp_path)] == [1, 2]


def test_loaded_run_gives_the_features_of_the_trained_method(finished):
    run = pretraining.load_run(finished.workdir)
    images = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(run.method(images), finished.method(images))
    assert (run.step, run.num_images) == (8, 64)
    assert run.recipe == recipe(finished.workdir, knn_images=64)
    for ours, theirs in zip(
        run.method.clusterer(), finished.method.clusterer(), strict=True
    ):
        np.testing.assert_array_equal(ours.centroids, theirs.centroids)


def test_loading_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        pretraining.load_run(tmp_path)


class Began(Exception):
    """Ends a run as it begins to train, with its backbone's weights."""


def weights_at_the_start(recipe):
    capture = keras.callbacks.LambdaCallback()

    def end(logs=None):
        raise Began(capture.model.backbone.get_weights())

    capture.on_train_begin = end
    with pytest.raises(Began) as began:
        quietly(recipe, callbacks=[capture])
    return began.value.args[0]


def test_untrained_backbone_is_that_of_the_runs_start(tmp_path):
    first = recipe(tmp_path, epochs=1, seed=5)
    began = weights_at_the_start(first)
    untrained = pretraining.untrained_backbone(first).get_weights()
    for ours, theirs in zip(untrained, began, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_run_starts_from_another_runs_backbone(tmp_path, finished):
    began = recipe(tmp_path, epochs=1, init_from=str(finished.workdir))
    for ours, theirs in zip(
        weights_at_the_start(began),
        finished.method.backbone.get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_frozen_stages_stay_as_they_were_given(tmp_path, finished):
    """Those of the network; all of it, in a run that ends up in an export."""
    given = finished.method.backbone.get_weights()
    knobs = {"init_from": str(finished.workdir), "frozen_stages": 2}
    _, said = interrupted(recipe(tmp_path, **knobs), 5)
    assert not any("random weights" in sentence for sentence in said)
    trained, said = quietly(recipe(tmp_path, **knobs))
    assert trained.step == 8
    assert not any("random weights" in sentence for sentence in said)
    loaded = pretraining.load_run(tmp_path).method
    assert not loaded.backbone.trainable_variables
    for ours, theirs in zip(loaded.backbone.get_weights(), given, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    version = saved_model.save(loaded, tmp_path / "export")
    exported = tf.saved_model.load(str(version))
    names = [v.path for v in finished.method.backbone.trainable_variables]
    assert len(exported.trainable_variables) == len(names)
    assert all(v.trainable for v in exported.trainable_variables)
    again = keras.models.load_model(version / "assets.extra/backbone.keras")
    assert [v.path for v in again.trainable_variables] == names


def test_stages_frozen_with_random_weights_are_told(tmp_path):
    _, said = interrupted(recipe(tmp_path, frozen_stages=1), 1)
    assert said[0].startswith("Frozen with random weights: 1 of the 1")


def test_more_frozen_stages_than_there_are_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="between 0 and 2 for backbone small"):
        quietly(recipe(tmp_path, frozen_stages=3))


def test_workdir_of_another_run_is_refused_by_the_knob(finished):
    with pytest.raises(
        ValueError,
        match=r"learning_rate=0.2 \(was 0.1\).*--allow_config_change",
    ):
        quietly(recipe(finished.workdir, learning_rate=0.2))


def test_run_goes_on_with_other_flags_where_that_is_allowed(tmp_path, stopped):
    copied(stopped, tmp_path)
    other = {"learning_rate": 0.2, "epochs": 3}
    changed, said = quietly(recipe(tmp_path, allow_config_change=True, **other))
    assert said[0] == (
        "Other flags from step 6 on: epochs=3 (was 2), learning_rate=0.2 "
        "(was 0.1)."
    )
    assert changed.step == 12
    # From now on it is the run of these flags; no leave is kept.
    saved = checkpoints.latest(tmp_path)
    knobs = {"epochs": ["2", "3"], "learning_rate": ["0.1", "0.2"]}
    assert saved.about["changes"] == [{"step": 6, "knobs": knobs}]
    again, said = quietly(recipe(tmp_path, **other))
    assert "Finished already" in said[-1]
    run = pretraining.load_run(tmp_path).recipe.run
    assert run.epochs == 3 and not run.allow_config_change


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        (
            {"num_clusters": 6},
            "num_clusters cannot change: it sets the shapes of the saved "
            r"state.*num_clusters=6 \(was 5\)",
        ),
        ({"optimizer": "adamw"}, r"optimizer=adamw \(was sgd\). Keep"),
        ({"batch_size": 32}, "batch_size cannot change.*counted in batches"),
        ({"init_from": "x", "learning_rate": 0.2}, "init_from cannot change"),
        ({"frozen_stages": 1}, "frozen_stages cannot change.*keeps nothing"),
        ({"max_images": 63}, "64 then, 63 now.*no flag allows this"),
    ],
)
def test_flags_that_the_state_does_not_fit_never_change(
    finished, knobs, message
):
    before = checkpoints.latest(finished.workdir).about
    with pytest.raises(ValueError, match=message):
        quietly(recipe(finished.workdir, allow_config_change=True, **knobs))
    assert checkpoints.latest(finished.workdir).about == before


def test_changed_flag_is_named_where_a_state_does_not_fit_it(finished):
    """No knob is known to do this that could change at all."""
    saved = checkpoints.latest(finished.workdir)
    arrays = {**saved.arrays, "more": np.zeros(1)}
    with pytest.raises(ValueError, match=r"does not fit.*seed=1 \(was 0\).*mo"):
        resuming.load_state(
            finished.method,
            recipe(finished.workdir, seed=1),
            saved._replace(arrays=arrays),
            [("seed", 0, 1)],
        )


def test_workdir_of_a_run_on_other_images_is_refused(finished):
    with pytest.raises(ValueError, match="64 then, 63 now"):
        quietly(recipe(finished.workdir, max_images=63))


def test_knobs_of_the_machine_may_change(tmp_path, stopped):
    copied(stopped, tmp_path)
    other, said = quietly(
        recipe(tmp_path, keep_checkpoints=5, data="digits:", jit_compile=False)
    )
    assert other.step == 8 and "Resumes swav on" in said[0]


def test_resuming_on_another_machine_says_what_can_differ(tmp_path, stopped):
    copied(stopped, tmp_path)
    _, step, arrays, about = checkpoints.latest(tmp_path)
    about["machine"]["replicas"] = 8
    checkpoints.save(tmp_path, step, arrays, about=about)
    _, said = quietly(recipe(tmp_path))
    assert "replicas 8 then, 1 now" in said[0]
    assert "last digits" in said[0]
    assert "keras.applications" not in said[0]


ON_TWO_REPLICAS = """
import importlib
from tests.support import small_runs as here

small = importlib.import_module("tfclust.backbones.small")  # as `one_block`
small.STEM_CHANNELS, small.STAGE_CHANNELS = 8, (16,)
result, said = here.quietly(here.recipe({workdir!r}, num_replicas=2))
print(*said[:2])
assert result.step == 8
"""


@pytest.mark.slow
def test_run_goes_on_on_another_number_of_replicas(tmp_path, finished):
    """Begun on one and ended on two, as on one throughout."""
    workdir = copied(finished, tmp_path / "run")
    shutil.rmtree(workdir / "checkpoints" / f"{8:010d}")
    said = run_in_subprocess(
        ON_TWO_REPLICAS.format(workdir=str(workdir)),
        timeout=500,
    )
    assert (
        "replicas 1 then, 2 now. Images, their order and crops are the same"
        in said
    )
    assert "from step 4" in said and "2 replicas" in said
    saved = checkpoints.latest(workdir)
    assert saved.about["machine"]["replicas"] == 2
    wanted = finished.method.state()
    assert saved.arrays.keys() == wanted.keys()
    for name, array in wanted.items():
        # Rounding that few steps amplify; another order of images or crops
        # would differ in the first digit.
        np.testing.assert_allclose(
            saved.arrays[name], array, rtol=2e-3, atol=5e-4, err_msg=name
        )


def test_random_layers_of_keras_are_reported_on_other_replicas():
    said = []
    about = {"machine": {"replicas": 2}}
    saved = checkpoints.Checkpoint(
        pathlib.Path("W"), 1, {}, {"machine": {"replicas": 1}}
    )
    for backbone in ("small", "EfficientNetB0"):
        resuming._tell_machine(
            recipe("W", backbone=backbone), about, saved, [], said.append
        )
    assert "keras.applications" not in said[0]
    assert "Dropout layers of Keras's networks drop other units" in said[1]


def test_changed_flags_are_left_out_of_what_stays_elsewhere():
    """Of a seed or crops that changed nobody can say that they stay."""
    said = []
    saved = checkpoints.Checkpoint(
        pathlib.Path("W"), 1, {}, {"machine": {"onednn": "0"}}
    )
    about = {"machine": {"onednn": "1"}}
    for changes in ([], [("seed", 0, 1)]):
        resuming._tell_machine(recipe("W"), about, saved, changes, said.append)
    assert "onednn 0 then, 1 now" in said[0]
    assert "crops are the same. " in said[0]
    assert "crops are the same, except for these flags. " in said[1]


def test_mixed_precision_trains_and_leaves_the_policy_alone(tmp_path):
    trained, _ = quietly(recipe(tmp_path, mixed_precision="bfloat16", epochs=1))
    assert keras.config.dtype_policy().name == "float32"
    backbone = trained.method.backbone
    assert all(v.dtype == "float32" for v in backbone.trainable_variables)
    assert "bfloat16" in {layer.compute_dtype for layer in backbone.layers}
    again = pretraining.load_run(tmp_path).method.backbone
    for ours, theirs in zip(again.layers, backbone.layers, strict=True):
        assert ours.compute_dtype == theirs.compute_dtype


def test_sample_shows_the_images_of_its_rows(finished):
    source = finished.method.views.source
    rows = np.array([3, 60])
    sample = Sample(source, rows)
    assert sample.num_images == 2
    np.testing.assert_array_equal(sample.labels, source.labels[rows])
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(sample.image(i), source.image(row))


def test_terminal_shows_speed_and_time_left(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(console, "_REDRAW_SECONDS", 0.0)
    quietly(recipe(tmp_path, epochs=1))
    written = capsys.readouterr()
    assert "step 4 of 4 · " in written.err
    assert "images/s" in written.err and " left" in written.err
    assert "epoch 1 · loss" in written.out
