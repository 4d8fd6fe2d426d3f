"""The command that evaluates a run or an export."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.support import processes
from tests.support.commands import write_digits
from tfclust import data, evaluate, export
from tfclust.cli import flags
from tfclust.evaluation import EvaluationConfig
from tfclust.runs import exporting
from tfclust.training import measuring, pretraining

pytestmark = pytest.mark.usefixtures("one_block")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of two steps on 200 digits."""
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    recipe = pretraining.make_recipe(
        method="swav",
        data="digits:?split=train",
        eval_data="digits:?split=test",
        max_images=200,
        workdir=str(workdir),
        backbone="small",
        image_size=12,
        batch_size=32,
        num_clusters=8,
        projection_width=8,
        hidden_width=16,
        steps=2,
        view_scales=((0.4, 1.0),),
        knn_images=0,
        augmentation="none",
    )
    pretraining.pretrain(recipe, say=lambda sentence: None)
    return workdir


@pytest.fixture(scope="module")
def version(workdir):
    """The run's SavedModel."""
    return exporting.export(export.ExportConfig(str(workdir)))


def status_of(*argv):
    """The command's exit code, run in this process."""
    flags.define(evaluate.EvaluateConfig, EvaluationConfig)
    return flags.status(evaluate.main, ["evaluate", *map(str, argv)])


@pytest.mark.slow
def test_command_measures_a_run_and_its_saved_model_alike(
    workdir, version, tmp_path, capsys
):
    other = tmp_path / "other.json"

    fast = "--cluster_restarts=2", "--max_images=100"
    assert status_of(f"--workdir={workdir}", *fast) == 0
    printed = capsys.readouterr().out
    status = status_of(
        f"--saved_model={version.parent}", f"--output={other}", *fast
    )
    assert status == 0

    of_run = json.loads((workdir / "evaluation.json").read_text())
    of_export = json.loads(other.read_text())
    assert list(of_run) == ["trained", "untrained", "pixels", "colours"]
    assert of_run["trained"] != of_run["untrained"]
    assert of_run["untrained"] == of_export["untrained"]
    assert of_run["pixels"] == of_export["pixels"]
    # Features agree to 1e-5, which may move one of 364 test images.
    for protocol, figures in of_run["trained"].items():
        for name, value in figures.items():
            other_value = of_export["trained"][protocol][name]
            if isinstance(value, float):
                assert value == pytest.approx(other_value, abs=1 / 300)
            else:
                assert value == other_value
    assert "weighted 20-NN, top-1 %" in printed
    assert f"Written: {workdir / 'evaluation.json'}" in printed


def test_run_s_own_images_are_the_default_and_its_number_of_them(workdir):
    config = EvaluationConfig()
    recipe = pretraining.load_run(workdir).recipe

    def sizes(**knobs):
        command = evaluate.EvaluateConfig(workdir=str(workdir), **knobs)
        train, test = measuring.open_labelled(command, config, recipe)
        return train.num_images, test.num_images

    assert sizes() == (200, 364)
    assert sizes(max_images=50) == (50, 364)
    assert sizes(train_data="digits:?split=train") == (200, 364)
    assert sizes(train_data="digits:?split=test", test_data="digits:") == (
        364,
        1433,
    )


@pytest.mark.parametrize(
    ("knobs", "shared"),
    [
        ({"test_data": "digits:?split=all"}, "200 of 1797"),
        (
            {"train_data": "digits:", "test_data": "digits:?split=all"},
            "1433 of 1797",
        ),
        (
            {"train_data": "digits:?split=all", "test_data": "digits:"},
            "1433 of 1433",
        ),
    ],
)
def test_images_on_both_sides_are_refused_with_their_number(
    workdir, knobs, shared
):
    command = evaluate.EvaluateConfig(workdir=str(workdir), **knobs)
    recipe = pretraining.load_run(workdir).recipe
    with pytest.raises(ValueError, match=f"{shared} images are in train_data"):
        measuring.open_labelled(command, EvaluationConfig(), recipe)


def test_every_fifth_image_is_held_out_where_no_test_is_given(workdir):
    recipe = pretraining.load_run(workdir).recipe
    run = dataclasses.replace(recipe.run, eval_data="")
    command = evaluate.EvaluateConfig(workdir=str(workdir))
    lines = []
    for protocols in (("knn", "linear", "clusters"), ("clusters",)):
        train, test = measuring.open_labelled(
            command,
            EvaluationConfig(protocols=protocols),
            recipe._replace(run=run),
            lines.append,
        )
        assert (train.num_images, test.num_images) == (160, 40)
        assert test.num_shared(train) == 0
    whole = data.open_source(run.data, max_images=200)
    np.testing.assert_array_equal(test.labels, whole.labels[::5])
    assert lines[0].endswith("held out to test on, 40 of 200.")


def test_a_class_of_one_image_is_learnt_from_or_not_tested_on(
    workdir, tmp_path
):
    # The 6th of the sorted images is held out.
    for name, numbers in (("a", range(5)), ("b", [5]), ("c", range(6, 12))):
        for number in numbers:
            path = tmp_path / "uneven" / name / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 20 * number).save(path)
    recipe, lines = pretraining.load_run(workdir).recipe, []
    run = dataclasses.replace(
        recipe.run, eval_data="", data=f"folder:{tmp_path / 'uneven'}"
    )
    train, test = measuring.open_labelled(
        evaluate.EvaluateConfig(workdir=str(workdir)),
        EvaluationConfig(),
        recipe._replace(run=run),
        lines.append,
    )
    assert train.num_images == 9 and test.labels.tolist() == [0, 2]
    assert lines[0].endswith("2 of 12.")
    assert lines[1].endswith("all images of the class would be held out: b.")


def test_without_labels_all_images_are_measured_and_a_line_says_so(
    workdir, tmp_path
):
    write_digits(tmp_path / "flat", count=30, by_class=False)
    flat = f"folder:{tmp_path / 'flat'}"
    recipe = pretraining.load_run(workdir).recipe
    run = dataclasses.replace(recipe.run, eval_data="", data=flat)
    command, lines = evaluate.EvaluateConfig(workdir=str(workdir)), []
    train, test = measuring.open_labelled(
        command, EvaluationConfig(), recipe._replace(run=run), lines.append
    )
    assert train is None and test.num_images == 30
    (line,) = lines
    assert "has no labels: measures unlabelled, which needs none" in line
    with pytest.raises(ValueError, match="the protocol knn compares with"):
        measuring.open_labelled(
            command,
            EvaluationConfig(protocols=("knn",)),
            recipe._replace(run=run),
        )


def test_command_ends_with_a_verdict_and_the_next_command(
    workdir, tmp_path, capsys
):
    write_digits(tmp_path / "flat", count=30, by_class=False)
    output = tmp_path / "verdict.json"
    status = status_of(
        f"--workdir={workdir}",
        f"--test_data=folder:{tmp_path / 'flat'}",
        f"--output={output}",
        "--baselines=untrained",
        "--cluster_restarts=2",
    )
    assert status == 0
    *table, verdict, written, following = capsys.readouterr().out.splitlines()
    assert table[2].startswith("4-means, two crops in one cluster %")
    figures = json.loads(output.read_text())["trained"]["unlabelled"]
    assert verdict == figures["verdict"] and figures["num_images"] == 30
    assert written == f"Written: {output}"
    assert following == (
        "Next, to export it: python -m tfclust.export "
        f"--workdir={workdir} --output=exports/tiny"
    )


def few(workdir, tmp_path, **knobs):
    """The training images of a command with some labels, and what it says."""
    command = evaluate.EvaluateConfig(
        workdir=str(workdir), output=str(tmp_path / "few.json"), **knobs
    )
    recipe, lines = pretraining.load_run(workdir).recipe, []
    train, test = measuring.open_labelled(
        command, EvaluationConfig(), recipe, lines.append
    )
    assert test.num_images == 364
    return train, lines


def test_a_share_of_labels_is_written_and_read_again(workdir, tmp_path):
    drawn, (line,) = few(workdir, tmp_path, label_share=0.2)
    (path,) = tmp_path.glob("labels_0.2_seed0_*.txt")
    # 200 digits: about 20 of each, and a fifth of these.
    assert 36 <= drawn.num_images <= 44
    assert line.endswith(f"images of digits:?split=train, listed in {path}.")
    again, _ = few(workdir, tmp_path, label_share=0.2)
    listed, _ = few(workdir, tmp_path, label_list=str(path))
    assert drawn.manifest_hash == again.manifest_hash == listed.manifest_hash


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"label_list": "gone.txt"}, "label_list must be a file with the name"),
        ({"label_list": "other", "label_share": 0.2}, "which names others"),
    ],
)
def test_lists_that_do_not_fit_are_refused(workdir, tmp_path, knobs, words):
    (tmp_path / "other").write_text("a\n")
    knobs = {**knobs, "label_list": str(tmp_path / knobs["label_list"])}
    with pytest.raises((ValueError, OSError), match=words):
        few(workdir, tmp_path, **knobs)


@pytest.mark.slow
def test_saved_model_is_fine_tuned_as_its_run_and_needs_its_graph(
    workdir, version, tmp_path, capsys
):
    words = [
        "--protocols=finetune",
        "--baselines=",
        "--finetune_steps=8",
        "--finetune_batch_size=20",
        "--label_share=0.2",
    ]
    of = {}
    for name, path in (("workdir", workdir), ("saved_model", version)):
        output = tmp_path / f"{name}.json"
        arguments = [*words, f"--{name}={path}", f"--output={output}"]
        assert status_of(*arguments) == 0, capsys.readouterr().err
        of[name] = json.loads(output.read_text())["trained"]["finetune"]
    assert of["workdir"] == of["saved_model"]
    assert of["workdir"]["num_labelled"] < 45
    bare = tmp_path / "bare"
    shutil.copytree(version, bare)
    (bare / "assets.extra/backbone.keras").unlink()
    status = status_of(*words, f"--saved_model={bare}")
    told = capsys.readouterr().err
    assert status == 2 and "must have assets.extra/backbone.keras" in told
    assert "Write it again with tfclust.export" in told


def test_clusters_alone_open_no_training_images(workdir):
    command = evaluate.EvaluateConfig(
        workdir=str(workdir), train_data="folder:/nowhere"
    )
    config = EvaluationConfig(protocols=("clusters",))
    recipe = pretraining.load_run(workdir).recipe
    train, test = measuring.open_labelled(command, config, recipe)
    assert train is None and test.num_images == 364


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "give either workdir or saved_model"),
        (("--workdir=a", "--saved_model=b"), "workdir=a, saved_model=b"),
        (("--workdir=RUN", "--output=RUN"), "output must be a file"),
        (("--workdir=RUN/none",), "holds no run"),
        (("--workdir=RUN", "--output=/proc/a/b.json"), "output=/proc/a/b.json"),
        (("--saved_model=RUN",), "no SavedModel"),
        (("--workdir=RUN", "--test_data=digits:?split=x"), "split=x"),
        (
            ("--workdir=RUN", "--test_data=folder:RUN/flat", "--protocols=knn"),
            "folder:RUN/flat",
        ),
        (("--workdir=RUN", "--protocols=nn"), "protocols=nn"),
        (
            ("--workdir=RUN", "--test_data=digits:?split=train"),
            "num_neighbors|other images",
        ),
    ],
)
def test_bad_input_ends_with_2_and_one_line(workdir, argv, words, capsys):
    argv = [word.replace("RUN", str(workdir)) for word in argv]
    words = words.replace("RUN", re.escape(str(workdir)))
    (workdir / "flat").mkdir(exist_ok=True)
    image = tf.io.encode_png(np.zeros([12, 12, 3], np.uint8)).numpy()
    for name in ("a.png", "b.png"):
        (workdir / "flat" / name).write_bytes(image)

    status = status_of(*argv)

    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert re.search(words, captured.err)


def test_saved_model_without_a_recipe_has_no_untrained_twin(
    version, tmp_path, capsys
):
    bare = tmp_path / "bare"
    shutil.copytree(version, bare)
    card = json.loads((bare / "model_card.json").read_text())
    (bare / "model_card.json").write_text(json.dumps({**card, "recipe": None}))

    status = status_of(f"--saved_model={bare}")

    assert status == 2
    assert "--baselines=pixels,colours" in capsys.readouterr().err


def test_page_of_filters_is_written_beside_the_figures(
    workdir, tmp_path, capsys
):
    output = tmp_path / "seen.json"
    words = "--protocols=filters", "--filter_images=3", "--baselines=untrained"
    assert status_of(f"--workdir={workdir}", f"--output={output}", *words) == 0
    printed = capsys.readouterr().out
    page = tmp_path / "seen_filters.html"
    assert f"Written: {page}" in printed and "alike for all images %" in printed
    found = json.loads(output.read_text())
    shown = found["trained"]["filters"]["stem_channels"][0]
    assert len(shown["images"]) == len(shown["names"]) == 3
    text = page.read_text("utf-8")
    shown = [
        len(of["filters"][f"{layer}_channels"])
        for of in found.values()
        for layer in of["filters"]["layers"]
    ]
    assert text.count("<figure>") == sum(shown) > 20
    assert ">trained</h2>" in text and ">untrained</h2>" in text


def test_filters_need_a_place_for_their_page_and_the_networks_graph(
    version, tmp_path, capsys
):
    bare = tmp_path / "bare"
    shutil.copytree(version, bare)
    (bare / "assets.extra/backbone.keras").unlink()
    words = f"--saved_model={bare}", "--protocols=filters", "--baselines="
    told = []
    for more in ([], [f"--output={tmp_path / 'out.json'}"]):
        assert status_of(*words, *more) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1
        told.append(captured.err)
    assert "Give --output=figures.json" in told[0]
    assert "must have assets.extra/backbone.keras" in told[1]
    assert "Write it again with tfclust.export" in told[1]


def test_command_refuses_a_missing_run_in_a_process_of_its_own(tmp_path):
    arguments = ["-m", "tfclust.evaluate", f"--workdir={tmp_path}"]
    done = processes.run(arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("evaluate: ")
    assert "Traceback" not in done.stdout + done.stderr
    assert "holds no run" in done.stderr
