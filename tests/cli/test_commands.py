"""The commands as a person types them: files, exit codes, what is printed."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tests.support import processes
from tests.support.commands import (
    TINY,
    command,
    environment,
    status,
)
from tests.support.image_files import encoded, example, write_records
from tfclust import evaluate, export
from tfclust.runs import checkpoints


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder and result of a finished training command."""
    folder = tmp_path_factory.mktemp("train")
    recipe = folder / "tiny.flags"
    recipe.write_text("# A recipe.\n" + "\n".join([*TINY, "--epochs=9"]))
    done = command(
        "train",
        f"--flagfile={recipe}",
        f"--workdir={folder / 'run'}",
        "--epochs=2",
        "--augmentation=swav",
        fresh=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "run", done


def test_training_leaves_its_files_and_nothing_on_standard_error(run):
    workdir, done = run
    assert done.stderr == ""
    assert "epoch 2 · loss" in done.stdout
    for name in ("config.flags", "metrics.jsonl", "tensorboard"):
        assert (workdir / name).exists()
    assert checkpoints.latest(workdir).step == 8


def write_photos(path):
    """64 records of different sizes, three of them cut off."""
    rng = np.random.default_rng(0)
    photos = []
    for i in range(64):
        image = rng.integers(0, 256, (40 + i % 3, 44, 3), np.uint8)
        photo = encoded(image, "JPEG")
        photos.append(photo[: len(photo) // 2] if i < 3 else photo)
    write_records(path, [example(x, i % 4) for i, x in enumerate(photos)])


COMMANDS = """
import sys
from tfclust import evaluate, evaluation, train
from tfclust.cli import flags, recipe_flags

recipe_flags.define(train.PlanConfig)
code = flags.status(train.main, ["train.py", *sys.argv[1:]])
assert code == 0, code
print("trained", flush=True)
print("trained", file=sys.stderr, flush=True)
flags.define(evaluate.EvaluateConfig, evaluation.EvaluationConfig)
(workdir,) = (x for x in sys.argv if x.startswith("--workdir="))
arguments = ["evaluate.py", workdir, "--max_images=40", "--baselines="]
arguments += ["--cluster_restarts=2"]
code = flags.status(evaluate.main, arguments)
assert code == 0, code
for name in sys.modules:
    assert not name.startswith("__autograph"), sys.modules[name].__file__
"""


@pytest.fixture(scope="module")
def of_records(tmp_path_factory):
    """Folder and result of a training and an evaluation on TFRecords."""
    folder = tmp_path_factory.mktemp("records")
    write_photos(folder / "photos.tfrecord")
    data = f"--data=tfrecord:{folder / 'photos.tfrecord'}"
    arguments = [*TINY, data, "--eval_data=", f"--workdir={folder}"]
    arguments += ["--epochs=1", "--max_bad_share=0.1"]
    code = ["-c", COMMANDS, *arguments]
    return folder, processes.run(code, env=environment())


@pytest.mark.slow
def test_training_on_records_leaves_nothing_on_standard_error(of_records):
    folder, done = of_records
    assert "trained\n" in done.stderr, done.stderr
    assert done.stderr.split("trained\n")[0] == ""
    assert done.stdout.count("a damaged or truncated JPEG") == 3
    listed = (folder / "skipped.txt").read_text().splitlines()
    assert len(listed) == 3
    assert listed[0].startswith("photos.tfrecord@")
    assert listed[0].endswith("\ta damaged or truncated JPEG")


@pytest.mark.slow
def test_measuring_says_nothing_but_its_own_lines(of_records):
    _, done = of_records
    lines = done.stderr.split("trained\n", 1)[1].splitlines()
    own = ("trained: ", "No test_data is given: ", "tfrecord:")
    assert lines and all(line.startswith(own) for line in lines), lines


@pytest.mark.slow
def test_autograph_rewrites_no_function_of_the_commands(of_records):
    _, done = of_records
    assert done.returncode == 0, done.stderr


def test_damaged_images_exit_with_2_and_one_line(tmp_path, capfd):
    write_photos(tmp_path / "photos.tfrecord")
    tf.config.list_physical_devices()  # a notice, which commands keep off
    capfd.readouterr()
    data = f"--data=tfrecord:{tmp_path / 'photos.tfrecord'}"
    code = status(
        "train",
        *TINY,
        data,
        "--eval_data=",
        f"--workdir={tmp_path / 'run'}",
        "--epochs=1",
    )
    assert code == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and "3 of 64 images" in error
    assert f"listed in {tmp_path / 'run' / 'skipped.txt'}" in error
    assert len((tmp_path / "run/skipped.txt").read_text().splitlines()) == 3


@pytest.mark.slow
def test_written_config_repeats_the_run(run, tmp_path):
    workdir, _ = run
    again = status(
        "train",
        f"--flagfile={workdir / 'config.flags'}",
        f"--workdir={tmp_path}",
        "--epochs=1",  # the same until there, but for the rate's schedule
        "--schedule=constant",
        "--augmentation=none",
    )
    assert again == 0
    written = (tmp_path / "config.flags").read_text()
    original = (workdir / "config.flags").read_text()
    assert set(original.splitlines()) - set(written.splitlines()) == {
        f"--workdir={workdir}",
        "--epochs=2",
        "--schedule=cosine",
        "--augmentation=swav",
    }


def test_export_prints_the_version_it_wrote(run, tmp_path, capsys):
    workdir, _ = run
    (tmp_path / "1").mkdir()  # an earlier one
    code = status("export", f"--workdir={workdir}", f"--output={tmp_path}")
    assert code == 0
    path = pathlib.Path(capsys.readouterr().out.strip())
    assert path == tmp_path / "2"
    assert (path / "saved_model.pb").is_file()
    card = json.loads((path / "model_card.json").read_text())
    assert card["method"] == "swav" and card["num_images"] == 64
    assert card["recipe"]["method"]["num_clusters"] == "5"
    assert card["metrics"]["last_epoch"]["epoch"] == 2


@pytest.mark.parametrize("output", ["/dev/null", "/proc/x", "/proc/x/y"])
@pytest.mark.parametrize("name", ["evaluate", "export"])
def test_output_that_cannot_be_written_is_refused_before_the_work(
    run, capsys, monkeypatch, name, output
):
    def work(*_, **__):
        raise AssertionError("must not be reached")

    monkeypatch.setattr(evaluate.evaluation, "evaluate", work)
    monkeypatch.setattr(export.saved_model, "save", work)
    workdir, _ = run
    if name == "evaluate":
        output += "/evaluation.json"
    assert status(name, f"--workdir={workdir}", f"--output={output}") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{name}: output must be ")
    assert f"output={output}" in error and error.count("\n") == 1
    assert "Errno" not in error


@pytest.mark.slow
def test_largest_seed_trains_and_evaluates(tmp_path):
    seed = 2**32 - 1
    made = status(
        "train", *TINY, f"--workdir={tmp_path}", f"--seed={seed}", "--steps=1"
    )
    measured = status(
        "evaluate",
        f"--workdir={tmp_path}",
        f"--evaluation_seed={seed}",
        "--cluster_restarts=2",
        "--baselines=",
        "--linear_protocol=sgd",
        "--linear_epochs=1",
    )
    assert (made, measured) == (0, 0)
