"""Labels of a finished run, or of the images, train another network."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import normalized_mutual_info_score

from tests.support.commands import NO_PLAN, status
from tests.support.small_runs import SMALL, interrupted, quietly
from tfclust import data
from tfclust.engine.monitor import final_labels
from tfclust.runs import checkpoints, metrics
from tfclust.training import given_labels, pretraining

pytestmark = pytest.mark.usefixtures("one_block")

SWAV = ("num_clusters", "projection_width", "hidden_width", "freeze_steps")
FIXED = {
    **{k: v for k, v in SMALL.items() if k not in SWAV},
    "method": "fixed_labels",
    "num_views": (1,),
}


def recipe(workdir, **knobs):
    knobs = {**SMALL, "epochs": 1, "workdir": str(workdir), **knobs}
    return pretraining.make_recipe(
        **{name: value for name, value in knobs.items() if value is not None}
    )


def fixed(workdir, labels, **knobs):
    """A recipe on the labels of a folder, or of the images."""
    knobs = {**FIXED, "workdir": str(workdir), "pseudo_labels": labels, **knobs}
    return pretraining.make_recipe(**knobs)


@pytest.fixture(scope="module")
def swav(tmp_path_factory):
    """A finished run of a method that keeps no labels."""
    workdir = tmp_path_factory.mktemp("swav")
    return quietly(recipe(workdir))[0]


@pytest.fixture(scope="module")
def deepcluster(tmp_path_factory):
    """A finished run with the labels of two heads."""
    workdir = tmp_path_factory.mktemp("deepcluster_v2")
    other = {"method": "deepcluster_v2", "freeze_steps": None}
    knobs = {"num_clusters": (5, 7), "batch_size": 24, "epochs": 2}
    return quietly(recipe(workdir, **other, **knobs))[0]


@pytest.fixture(scope="module")
def transferred(deepcluster, tmp_path_factory):
    """A finished run on them, and what it said."""
    workdir = tmp_path_factory.mktemp("fixed")
    words = fixed(workdir, str(deepcluster.workdir), rotation=True)
    return quietly(words)


def test_labels_of_every_head_are_taken_over(deepcluster, transferred):
    trained, said = transferred
    labels = deepcluster.method.labels.rows.numpy()
    np.testing.assert_array_equal(trained.method.labels.rows, labels)
    unknown = (labels[:, 0] < 0).sum()
    assert unknown == 16  # two batches of 24 images an epoch
    assert trained.method.config.num_clusters == (5, 7)
    assert f"those of {deepcluster.workdir} (deepcluster_v2, step 4)" in said[0]
    assert "2 heads of 5, 7 classes, not for 16 of 64 images." in said[0]


@pytest.mark.slow
def test_labels_of_sela_train_another_backbone_from_scratch(tmp_path):
    other = dict.fromkeys(SWAV) | {"method": "sela"}
    knobs = {"num_clusters": (5, 7), "num_views": (1,), "view_scales": None}
    knobs |= {"num_label_steps": 2}
    first, _ = quietly(recipe(tmp_path / "sela", **other | knobs))
    words = fixed(tmp_path / "fixed", str(tmp_path / "sela"))
    backbone = dataclasses.replace(words.backbone, width=2)
    second, said = quietly(words._replace(backbone=backbone))
    np.testing.assert_array_equal(
        second.method.labels.rows, first.method.labels.rows
    )
    assert "2 heads of 5, 7 classes" in said[0]
    widths = [x.method.backbone.output_shape[-1] for x in (first, second)]
    assert widths == [16, 32]


def test_last_assignments_stand_in_for_a_method_without_labels(swav, tmp_path):
    trained, said = quietly(fixed(tmp_path, str(swav.workdir)))
    labels = trained.method.labels.rows.numpy()
    np.testing.assert_array_equal(labels, swav.method.last_assignments)
    assert labels.min() >= 0
    assert "(swav, step 4): 5 classes." in said[0]


def test_final_labels_within_an_epoch_prefer_the_current_ones(tmp_path):
    stopped, _ = interrupted(recipe(tmp_path, epochs=3), 5)
    assert stopped.step == 6
    method = stopped.method
    before = method.monitor.before.rows.numpy()
    current = method.monitor.current.rows.numpy()
    assert (current < 0).any() and (current >= 0).any()
    found = final_labels(checkpoints.latest(tmp_path).arrays)
    np.testing.assert_array_equal(found, method.last_assignments)
    np.testing.assert_array_equal(found, np.where(current < 0, before, current))


def test_labels_of_a_file_train_as_those_of_the_run_do(deepcluster, tmp_path):
    labels = deepcluster.method.labels.rows.numpy()
    table = tmp_path / "labels.csv"
    np.savetxt(table, labels, fmt="%d", delimiter=",")
    of_run, _ = quietly(fixed(tmp_path / "run", str(deepcluster.workdir)))
    of_file, said = quietly(
        fixed(tmp_path / "file", str(table), num_clusters=(5, 7))
    )
    assert "2 heads of" in said[0]
    for one, other in zip(
        of_run.method.weights, of_file.method.weights, strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_own_labels_of_the_images_are_the_supervised_baseline(tmp_path):
    trained, said = quietly(fixed(tmp_path, "source"))
    source = data.open_source("digits:?split=train", max_images=64)
    np.testing.assert_array_equal(
        trained.method.labels.rows[:, 0], source.labels
    )
    assert said[0] == "Labels are digits:?split=train's own: 10 classes."


@pytest.mark.slow
def test_labels_of_the_images_reach_no_training_on_those_of_a_run(
    deepcluster, tmp_path, monkeypatch
):
    states = []
    for shift in (0, 1):
        opened = data.open_source

        def shifted(*args, _opened=opened, _shift=shift, **knobs):
            source = _opened(*args, **knobs)
            source.labels = (source.labels + _shift) % 10
            return source

        with monkeypatch.context() as patch:
            patch.setattr(data, "open_source", shifted)
            workdir = tmp_path / str(shift)
            words = fixed(workdir, str(deepcluster.workdir))
            states.append(quietly(words)[0].method.state())
    for key, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][key], err_msg=key)


@pytest.mark.slow
def test_resumed_run_has_its_labels_in_its_state(deepcluster, tmp_path):
    """Every array, bit for bit, though the other run is gone."""
    other = tmp_path / "other"
    shutil.copytree(deepcluster.workdir, other)
    knobs = {"epochs": 2, "rotation": True}
    whole, _ = quietly(fixed(tmp_path / "whole", str(other), **knobs))
    parts = fixed(tmp_path / "parts", str(other), **knobs)
    stopped, _ = interrupted(parts, 5)
    assert stopped.step == 6
    shutil.rmtree(other)
    resumed, said = quietly(parts)
    assert "from step 6" in said[0]
    wanted, arrays = whole.method.state(), resumed.method.state()
    assert arrays.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)


def test_read_run_knows_the_classes_its_labels_had(transferred):
    trained, _ = transferred
    run = pretraining.load_run(trained.workdir)
    assert run.recipe.method.num_clusters == (5, 7)
    np.testing.assert_array_equal(
        run.method.labels.rows, trained.method.labels.rows
    )


@pytest.mark.slow
def test_evaluate_and_export_read_such_a_run(transferred, tmp_path, capsys):
    workdir = transferred[0].workdir
    code = status(
        "evaluate",
        f"--workdir={workdir}",
        "--test_data=digits:?split=test",
        "--protocols=knn",
        "--baselines=",
    )
    assert code == 0, capsys.readouterr().err
    assert "20-NN" in capsys.readouterr().out
    code = status("export", f"--workdir={workdir}", f"--output={tmp_path}")
    assert code == 0
    version = pathlib.Path(capsys.readouterr().out.strip())
    card = json.loads((version / "model_card.json").read_text())
    assert card["method"] == "fixed_labels"
    assert card["recipe"]["method"]["num_clusters"] == "5,7"
    assert card["recipe"]["method"]["rotation"] == "true"
    assert card["metrics"]["evaluation"] is not None


def write_images(folder):
    """Sixteen images in no class folders."""
    folder.mkdir()
    for i in range(16):
        pixels = np.full([8, 8, 3], 10 * i, np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


COMMAND = [
    "--method=fixed_labels",
    "--data=digits:?split=train",
    "--max_images=64",
    "--backbone=small",
    "--image_size=8",
    "--batch_size=16",
    "--num_views=1",
    "--epochs=1",
    NO_PLAN,
]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "pseudo_labels must be given"),
        (["--pseudo_labels=NOWHERE"], "holds no run"),
        (["--pseudo_labels=RUN", "--max_images=63"], "64 there, 63 in data."),
        (
            ["--pseudo_labels=RUN", "--data=digits:?split=test"],
            "64 there, 64 in data, with other names or sizes",
        ),
        (
            ["--pseudo_labels=RUN", "--num_clusters=9"],
            "1 values for 2 heads",
        ),
        (
            ["--pseudo_labels=RUN", "--num_clusters=9,3"],
            "3 clusters for 7 classes",
        ),
        (["--pseudo_labels=source", "--data=folder:FLAT"], "16 images without"),
        (
            ["--pseudo_labels=source", "--num_clusters=9"],
            "9 clusters for 10 classes of pseudo_labels=source",
        ),
        (["--pseudo_labels=source", "--max_images=1"], "two images at least"),
        (
            ["--method=swav", "--pseudo_labels=source"],
            "only by method=fixed_labels",
        ),
    ],
)
def test_bad_input_exits_with_2_and_one_line(
    deepcluster, tmp_path, capsys, arguments, message
):
    places = {
        "RUN": deepcluster.workdir,
        "NOWHERE": tmp_path / "nowhere",
        "FLAT": write_images(tmp_path / "flat"),
    }
    for word, place in places.items():
        arguments = [a.replace(word, str(place)) for a in arguments]
    workdir = tmp_path / "run"
    code = status("train", *COMMAND, f"--workdir={workdir}", *arguments)
    assert code == 2
    error = capsys.readouterr().err
    assert error.startswith("train: ") and error.count("\n") == 1
    assert message in error
    assert not (workdir / "config.flags").exists()


def test_labels_of_one_class_teach_nothing():
    given = given_labels.GivenLabels(np.zeros([8, 1], int), (4,), "x")
    with pytest.raises(ValueError, match="1 classes for 8 images in head 0"):
        given_labels._check_classes("x", given, ())


def test_label_beyond_int32_is_refused_and_not_another_class():
    images = np.zeros([4, 8, 8, 3], np.uint8)
    source = data.ArraySource(images, labels=[0, 1, 2**32 + 1, 1])
    with pytest.raises(ValueError, match="label 4294967297 in array:. Number"):
        given_labels._of_source(source)


def test_pseudo_labels_own_nmi_to_the_classes_is_a_figure(swav, deepcluster):
    """DeepCluster's figure 2a; the mean over heads."""
    method = deepcluster.method
    expected = []
    for head in method.labels.rows.numpy().T:
        known = head >= 0
        assert 0 < known.sum() < len(known)
        expected.append(
            normalized_mutual_info_score(
                method.views.source.labels[known],
                head[known],
                average_method="geometric",
            )
        )
    figures = metrics.read_metrics(deepcluster.workdir)[-1]
    assert figures["pseudo_label_nmi"] == pytest.approx(np.mean(expected))
    assert figures["pseudo_label_nmi"] != figures["nmi_labels"]
    # No labels are kept, hence no figure.
    assert "pseudo_label_nmi" not in metrics.read_metrics(swav.workdir)[-1]


@pytest.mark.slow
def test_written_command_takes_the_labels_again(swav, tmp_path):
    """Another network than the run's, and no number of clusters."""
    arguments = [
        "--method=fixed_labels",
        f"--pseudo_labels={swav.workdir}",
        "--data=digits:?split=train",
        "--max_images=64",
        "--backbone=small",
        "--width=2",
        "--image_size=8",
        "--batch_size=32",
        "--num_views=1",
        "--steps=1",
        "--knn_images=0",
        NO_PLAN,
    ]
    assert status("train", *arguments, f"--workdir={tmp_path / 'a'}") == 0
    again = [f"--flagfile={tmp_path / 'a' / 'config.flags'}"]
    assert status("train", *again, f"--workdir={tmp_path / 'b'}") == 0
    one, two = (checkpoints.latest(tmp_path / name) for name in "ab")
    assert one.about["recipe"]["method"]["num_clusters"] == "5"
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(two.arrays[name], array, err_msg=name)
