"""A recipe becomes a trained method, is refused, or goes on where it was."""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.support.disk import full_disk
from tests.support.marks import slow
from tests.support.processes import run_in_subprocess
from tfclust.engine.figures import FIGURES, names
from tfclust.runs import checkpoints, health, metrics, recipes
from tfclust.runtime import folders, locks
from tfclust.training import images, pretraining, resuming
from tfclust.training.callbacks import console
from tfclust.training.callbacks.label_figures import Sample

SMALL = {
    "method": "swav",
    "data": "digits:?split=train",
    "max_images": 64,
    "backbone": "small",
    "image_size": 8,
    "batch_size": 16,
    "num_clusters": 5,
    "projection_width": 8,
    "hidden_width": 0,
    "freeze_steps": 2,
    "epochs": 2,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "flip_probability": 0.0,
    "augmentation": "none",  # the contract's runs have colours
    "threads": 2,
    "knn_images": 0,
}


def recipe(workdir, **knobs):
    """`SMALL` with other knobs; None leaves one out."""
    knobs = {**SMALL, "workdir": str(workdir), **knobs}
    return pretraining.make_recipe(
        **{name: value for name, value in knobs.items() if value is not None}
    )


def quietly(recipe, **knobs):
    """Trains; returns the result and what was said."""
    said = []
    result = pretraining.pretrain(recipe, say=said.append, **knobs)
    return result, said


class At(keras.callbacks.Callback):
    """Calls a function before a step."""

    def __init__(self, step, function):
        super().__init__()
        self.step, self.function = step, function

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.step:
            self.function()


def interrupted(recipe, step, number=signal.SIGTERM):
    """Trains until a signal comes in the step."""
    kill = At(step, lambda: os.kill(os.getpid(), number))
    return quietly(recipe, callbacks=[kill])


def copied(trained, workdir):
    """`workdir` with what lies in that of a run."""
    shutil.copytree(trained.workdir, workdir, dirs_exist_ok=True)
    return workdir


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


def without_times(history):
    return [
        {k: v for k, v in figures.items() if k not in names("timed")}
        for figures in history
    ]


def test_metrics_hold_an_object_an_epoch(finished):
    lines = (finished.workdir / "metrics.jsonl").read_text().splitlines()
    first, second = map(json.loads, lines)
    assert list(first) == [name for name, of in FIGURES.items() if not of.some]
    assert (first["epoch"], first["step"]) == (1, 4)
    assert (second["epoch"], second["step"]) == (2, 8)
    assert first["nmi_previous"] is None and second["nmi_previous"] is not None
    assert 0 <= second["knn_accuracy"] <= 1
    assert all(isinstance(v, float) for v in list(second.values())[2:])


def test_tensorboard_gets_the_figures(finished):
    (file,) = (finished.workdir / "tensorboard").iterdir()
    read = {}
    for record in tf.data.TFRecordDataset(str(file)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            number = tf.make_ndarray(value.tensor)
            read.setdefault(value.tag, []).append((event.step, float(number)))
    losses = [f["loss"] for f in metrics.read_metrics(finished.workdir)]
    assert [step for step, _ in read["loss"]] == [4, 8]
    np.testing.assert_allclose([loss for _, loss in read["loss"]], losses)


def test_finished_run_trains_no_further(finished):
    again, said = quietly(recipe(finished.workdir))
    assert again.step == 8 and not again.interrupted
    assert "Finished already" in said[-1]


RESUMED = {
    "swav": {"freeze_steps": 2, "queue_rows": 32, "queue_start_epoch": 0},
    "deepcluster_v2": {"num_clusters": (5, 6)},
    "deepcluster": {"pca_width": 4},
    "sela": {"num_clusters": (5, 6), "num_label_steps": 5},
    "sela_v2": {"num_clusters": (5, 6)},
    "odc": {"hidden_width": 8},
    "coke": {
        "num_clusters": (5, 6),
        "hidden_width": 8,
        "second_stage_epoch": 1,
    },
}


@pytest.mark.parametrize(
    "method", [m if m == "swav" else slow(m) for m in RESUMED]
)
def test_interrupted_and_resumed_run_equals_one_never_stopped(tmp_path, method):
    """Stopped within the second epoch; every array, bit for bit."""
    knobs = {"freeze_steps": None, **RESUMED[method]}
    whole = recipe(tmp_path / "whole", method=method, **knobs)
    parts = recipe(tmp_path / "parts", method=method, **knobs)
    expected, _ = quietly(whole)
    stopped, said = interrupted(parts, 5)
    assert (stopped.step, stopped.interrupted) == (6, True)
    assert "step 6 of 8 is saved" in said[-1]
    resumed, said = quietly(parts)
    assert "from step 6" in said[0]
    assert (resumed.step, resumed.interrupted) == (8, False)
    arrays, wanted = resumed.method.state(), expected.method.state()
    assert arrays.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)
    assert without_times(
        metrics.read_metrics(resumed.workdir)
    ) == without_times(metrics.read_metrics(expected.workdir))


def test_run_interrupted_at_an_epochs_end_saves_its_figures(tmp_path):
    stopped, _ = interrupted(recipe(tmp_path), 3, signal.SIGINT)
    assert (stopped.step, stopped.interrupted) == (4, True)
    assert [f["epoch"] for f in metrics.read_metrics(tmp_path)] == [1]
    assert checkpoints.latest(tmp_path).step == 4


def test_signals_are_given_back_after_training(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    interrupted(recipe(tmp_path), 0)
    assert signal.getsignal(signal.SIGTERM) is before


def test_killed_run_tells_its_repeated_epoch_once(tmp_path, finished):
    """Its last checkpoint damaged, an epoch is trained and told again."""
    copied(finished, tmp_path)
    newest = max((tmp_path / "checkpoints").iterdir())
    (newest / "manifest.json").write_text("")
    _, said = quietly(recipe(tmp_path))
    assert "damaged" in said[0] and "from step 4" in said[1]
    assert [f["epoch"] for f in metrics.read_metrics(tmp_path)] == [1, 2]


def test_checkpoints_within_epochs_are_kept_on_request(tmp_path):
    quietly(recipe(tmp_path, checkpoint_steps=3, keep_checkpoints=9, epochs=1))
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert [int(name) for name in names] == [3, 4]


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


def test_a_clustering_that_finds_its_number_takes_any_limit(tmp_path):
    """More clusters than images are a limit that is never reached."""
    trained, _ = quietly(
        recipe(
            tmp_path,
            method="deepcluster",
            freeze_steps=None,
            clustering="pic",
            pca_width=4,
            num_clusters=100,
            epochs=1,
        )
    )
    figures = metrics.read_metrics(trained.workdir)[-1]
    assert 1 <= figures["found_clusters"] < 64
    chance = np.log(max(2, figures["found_clusters"]))
    assert figures["loss_over_log_k"] == pytest.approx(figures["loss"] / chance)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"data": ""}, "data must be given"),
        ({"workdir": ""}, "workdir must be given"),
        ({"epochs": None}, "epochs or steps"),
        ({"steps": 9}, "either epochs or steps.*epochs=2, steps=9"),
        ({"data": "cloud:x"}, "Received: data=cloud:x"),
        ({"batch_size": 65}, "64 images cannot fill a batch of 65"),
        ({"num_clusters": 65}, "64 images cannot fill 65 clusters"),
        ({"queue_rows": 24}, "queue_rows=24, batch_size=16. Try 16"),
        (
            {"queue_rows": 1_600_000_000},
            "queue_rows=1600000000, 64 images. Try 64",
        ),
        (
            {"backbone": "VGG16", "batch_size": 2},
            "vgg16 is too deep for images of 8 px.*view_sizes=8. Give 32",
        ),
        ({"image_size": 65}, "views of 65 px are more than 8 times larger"),
        ({"resize_size": 7}, "resize_size=7, image_size=8"),
        ({"warmup_epochs": 3.0}, "warmup_epochs=3, epochs=2"),
        ({"num_replicas": 2, "strategy": "one"}, "num_replicas=2"),
        ({"strategy": "multi_worker"}, "TF_CONFIG"),
        (
            {"accumulate_steps": 2},
            "must be 1.*whole batch.*accumulate_steps=2.*mixed_precision.*"
            "num_views.*num_replicas.*queue_rows",
        ),
        ({"num_views": (1,)}, "num_views must sum to at least 2"),
        ({"learning_rat": 3}, "no knob.*Did you mean learning_rate"),
        ({"min_cluster": 3}, "read by odc alone"),
    ],
)
def test_impossible_setting_is_refused_with_its_numbers(
    tmp_path, knobs, message
):
    with pytest.raises(ValueError, match=message):
        quietly(recipe(knobs.pop("workdir", tmp_path), **knobs))
    assert not (tmp_path / "metrics.jsonl").exists()


def write_folder(folder, *, num=20, labelled=False, start=0):
    generator = np.random.default_rng(start)
    for i in range(start, start + num):
        where = folder / (f"class{i % 2}" if labelled else "")
        where.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (12, 12, 3), np.uint8)
        Image.fromarray(pixels).save(where / f"{i}.png")
    return f"folder:{folder}"


def test_images_without_labels_train_without_label_figures(tmp_path):
    data = write_folder(tmp_path / "images")
    quietly(recipe(tmp_path / "run", data=data, epochs=1))
    (figures,) = metrics.read_metrics(tmp_path / "run")
    assert "loss" in figures and "nmi_labels" not in figures


def test_test_images_need_labels_on_both_sides(tmp_path):
    data = write_folder(tmp_path / "images")
    with pytest.raises(ValueError, match="eval_data tests a kNN"):
        quietly(
            recipe(tmp_path / "run", data=data, eval_data="digits:?split=test")
        )


def test_test_images_of_other_classes_are_refused(tmp_path):
    data = write_folder(tmp_path / "images", labelled=True)
    with pytest.raises(ValueError, match="class0, class1 .2 classes"):
        quietly(recipe(tmp_path / "run", eval_data=data))


def test_unreadable_images_are_left_out_by_name(tmp_path):
    data = write_folder(tmp_path / "images")
    (tmp_path / "images" / "broken.jpg").write_bytes(b"no image")
    lenient = recipe(tmp_path / "run", data=data, epochs=1, max_bad_share=0.1)
    _, said = quietly(lenient)
    assert said[0].startswith("Left out: broken.jpg: ")


def test_unreadable_test_images_are_listed_too(tmp_path):
    data = write_folder(tmp_path / "images", labelled=True)
    test = write_folder(tmp_path / "test", labelled=True, start=20)
    (tmp_path / "test" / "class0" / "broken.jpg").write_bytes(b"no image")
    knobs = {"data": data, "eval_data": test, "epochs": 1}
    listed = tmp_path / "run" / "skipped.txt"
    _, said = quietly(recipe(tmp_path / "run", max_bad_share=0.1, **knobs))
    assert said[0].startswith("Left out: class0/broken.jpg: ")
    assert listed.read_text().startswith("class0/broken.jpg\t")
    with pytest.raises(ValueError, match="1 of .* listed in .*skipped.txt"):
        quietly(recipe(tmp_path / "run", max_bad_share=0.02, **knobs))
    (tmp_path / "images" / "class0" / "empty.jpg").touch()
    with pytest.raises(ValueError, match="1 of .* listed in .*skipped.txt"):
        quietly(recipe(tmp_path / "run", max_bad_share=0.02, **knobs))
    assert listed.read_text().startswith("class0/empty.jpg\tempty")
    before = listed.read_text()
    with pytest.raises(FileNotFoundError):
        quietly(recipe(tmp_path / "run", **knobs | {"data": "folder:/none"}))
    assert listed.read_text() == before  # a slip in a path costs no list


def test_an_image_that_cannot_be_listed_ends_no_run(tmp_path):
    said = []
    images._tell_failure(tmp_path / "gone", said.append, "a.jpg", "why")
    assert said[0] == "Replaced by others from now on: a.jpg: why"
    assert "could not be listed in skipped.txt: No such file" in said[1]


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
            r"does not fit.*num_clusters=6 \(was 5\).*must have shape.*Leave",
        ),
        ({"optimizer": "adamw"}, r"optimizer=adamw \(was sgd\).*and \d+ more"),
        ({"batch_size": 32}, "batch_size cannot change.*counted in batches"),
        ({"init_from": "x", "learning_rate": 0.2}, "init_from cannot change"),
        ({"max_images": 63}, "64 then, 63 now.*no flag allows it"),
    ],
)
def test_flags_that_the_state_does_not_fit_never_change(
    finished, knobs, message
):
    before = checkpoints.latest(finished.workdir).about
    with pytest.raises(ValueError, match=message):
        quietly(recipe(finished.workdir, allow_config_change=True, **knobs))
    assert checkpoints.latest(finished.workdir).about == before


def test_workdir_of_a_run_on_other_images_is_refused(finished):
    with pytest.raises(ValueError, match="64 then, 63 now"):
        quietly(recipe(finished.workdir, max_images=63))


def test_knobs_of_the_machine_may_change(tmp_path, stopped):
    copied(stopped, tmp_path)
    other, said = quietly(
        recipe(tmp_path, keep_checkpoints=5, data="digits:", jit_compile=False)
    )
    assert other.step == 8 and "Goes on with" in said[0]


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
from tests.training import test_pretraining as here

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
        env={"PYTHONPATH": "tests"},
        timeout=500,
    )
    assert "replicas 1 then, 2 now. Images, their order and crops stay" in said
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


def test_random_layers_of_keras_are_told_on_other_replicas():
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
    assert "keras.applications that drop units drop others" in said[1]


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
    assert "crops stay the run's. " in said[0]
    assert "crops stay the run's, but for these flags. " in said[1]


def test_workdir_in_use_is_refused(tmp_path):
    with (
        locks.lock(tmp_path),
        pytest.raises(locks.BusyError, match="in use"),
    ):
        quietly(recipe(tmp_path))


def test_loss_that_is_no_number_ends_the_run_and_saves_nothing(tmp_path):
    wild = recipe(tmp_path, learning_rate=1e30, freeze_steps=0)
    with pytest.raises(ValueError, match="checkpoint: none. Lower learning_r"):
        quietly(wild)
    assert checkpoints.latest(tmp_path) is None
    assert metrics.read_metrics(tmp_path) == []


def test_bad_loss_names_step_and_rate_and_leaves_the_last_good_state(tmp_path):
    """The rate jumps in the second epoch; the first one's state goes on."""
    knobs = {"schedule": "constant", "learning_rate": 0.1}
    wild = recipe(tmp_path, rate_drops=((1.0, 1e30),), **knobs)
    with pytest.raises(ValueError) as error:
        quietly(wild)
    told = re.search(
        r"the loss is nan at step (\d), with a learning rate of 1e\+29; .* "
        r"Last good checkpoint: step 4\. .*--allow_config_change then goes on",
        str(error.value),
    )
    assert told and int(told[1]) in (6, 7)
    assert checkpoints.latest(tmp_path).step == 4
    assert [f["epoch"] for f in metrics.read_metrics(tmp_path)] == [1]
    calm, _ = quietly(recipe(tmp_path, allow_config_change=True, **knobs))
    assert calm.step == 8


def test_run_on_a_full_disk_ends_and_goes_on_when_there_is_room(tmp_path):
    with contextlib.ExitStack() as disk:
        fill = At(5, lambda: disk.enter_context(full_disk(100_000)))
        with pytest.raises(folders.DiskError, match="step 8 .*point: step 4"):
            quietly(recipe(tmp_path), callbacks=[fill])
    resumed, said = quietly(recipe(tmp_path))
    assert "from step 4" in said[0] and resumed.step == 8
    assert [f["epoch"] for f in metrics.read_metrics(tmp_path)] == [1, 2]


def test_collapse_that_lasts_ends_the_run_where_that_is_asked_for(
    tmp_path, monkeypatch
):
    # Whether four epochs of this small net collapse hangs on the processor.
    said = "The images collapse into 1.0 clusters in effect, of 5."
    monkeypatch.setattr(health, "_collapsed", lambda *figures: said)
    asked = recipe(tmp_path, epochs=5, stop_on_collapse=True)
    with pytest.raises(ValueError, match="step 12 of 20, after 3 ep.*collapse"):
        quietly(asked)
    assert checkpoints.latest(tmp_path).step == 12
    # A start later it counts on; a change of flags has three epochs to help.
    with pytest.raises(ValueError, match="step 16 of 20"):
        quietly(asked)
    changed = {"learning_rate": 0.2, "allow_config_change": True}
    trained, _ = quietly(
        recipe(tmp_path, epochs=5, stop_on_collapse=True, **changed)
    )
    assert trained.step == 20


def test_mixed_precision_trains_and_leaves_the_policy_alone(tmp_path):
    trained, _ = quietly(recipe(tmp_path, mixed_precision="bfloat16", epochs=1))
    assert keras.config.dtype_policy().name == "float32"
    backbone = trained.method.backbone
    assert all(v.dtype == "float32" for v in backbone.trainable_variables)
    assert "bfloat16" in {layer.compute_dtype for layer in backbone.layers}
    again = pretraining.load_run(tmp_path).method.backbone
    for ours, theirs in zip(again.layers, backbone.layers, strict=True):
        assert ours.compute_dtype == theirs.compute_dtype


def test_recipe_survives_its_words(tmp_path):
    some = recipe(
        tmp_path,
        view_sizes=(16, 8),
        num_views=(2, 3),
        view_scales=((0.5, 1.0), (0.1, 0.5)),
        init_from="",
        seed=7,
    )
    words = json.loads(json.dumps(recipes.to_words(some)))
    assert recipes.from_words(words) == some
    assert recipes.differences(some, words) == []


def test_no_two_configs_share_a_knob():
    for config_class in recipes.METHOD_CONFIGS.values():
        names = [
            field.name
            for part in (*recipes.CONFIGS.values(), config_class)
            for field in dataclasses.fields(part)
        ]
        assert len(names) == len(set(names))


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
