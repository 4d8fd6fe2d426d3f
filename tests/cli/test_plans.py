"""A plan from the command line: made, read, kept when a run goes on."""

import json
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from tests.support.bad_bytes import good
from tests.support.commands import NO_PLAN, command, status, write_digits
from tfclust import train

TINY = [
    "--image_size=8",
    "--num_views=2",
    "--augmentation=none",  # colours are compiled anew in each process
    "--hidden_width=0",
    "--threads=2",
]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planned") / "digits"
    return write_digits(folder, count=80, by_class=True)


@pytest.fixture(scope="module")
def planned(digits):
    """What a run without a recipe says, and its folder."""
    workdir = digits.parent / "run"
    done = command(
        "train",
        f"--data={digits}",
        f"--workdir={workdir}",
        "--minutes=0.1",
        "--freeze_steps=100000",  # of which the first lines say something
        *TINY,
        fresh=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, workdir


def last_step(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return json.loads(lines[-1])["step"]


@pytest.mark.slow
def test_a_run_without_a_recipe_says_what_it_settled_and_trains(planned):
    said, workdir = planned
    assert said.index("80 images grey") < said.index("--num_clusters=")
    assert "80 images are few to learn from nothing" in said
    assert said.index("Expected: ") < said.index("epoch 1 ·")
    assert said.count("The prototypes stay as they start") == 1
    config = (workdir / "config.flags").read_text()
    assert "--epsilon=\n" in config
    assert "--augmentation=none" in config


@pytest.mark.slow
def test_the_same_command_goes_on_by_the_plan_that_it_made(planned, capsys):
    _, workdir = planned
    step = last_step(workdir)
    (workdir / "plan.flags").unlink()
    assert status("train", f"--workdir={workdir}", "--minutes=9") == 0
    said = capsys.readouterr().out
    assert f"Finished already: {step} steps" in said
    assert f"The run in {workdir} keeps its length; minutes is for" in said
    assert not (workdir / "plan.flags").exists()


@pytest.mark.slow
def test_another_length_is_the_only_flag_that_differs(planned, capsys):
    _, workdir = planned
    assert status("train", f"--workdir={workdir}", "--epochs=99") == 2
    error = capsys.readouterr().err
    assert "holds another run. Received: epochs=99 (was " in error
    assert "batch_size" not in error


@pytest.mark.slow
def test_train_reads_a_plan_that_advise_wrote(
    digits, tmp_path, capsys, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    plan = tmp_path / "plan.flags"
    arguments = [f"--data={digits}", "--minutes=0.2", *TINY]
    assert status("advise", *arguments, f"--output={plan}") == 0
    said = capsys.readouterr().out
    *_, written, following = said.splitlines()
    assert written == f"Written: {plan}"
    train = f"python -m tfclust.train --flagfile={plan} --workdir=runs/mine"
    assert following == f"Next, to train by it: {train}"
    assert f"# {train}" in plan.read_text()
    assert not list((tmp_path / "here").iterdir())
    for line in plan.read_text().splitlines():
        if line.startswith("--"):
            assert line in said
    short = [f"--flagfile={plan}", "--epochs=1", "--warmup_epochs=0"]
    assert status("train", *short, f"--workdir={tmp_path / 'run'}") == 0
    assert last_step(tmp_path / "run") == 80 // 20


def test_flags_of_another_method_in_a_flagfile_are_told(tmp_path, capsys):
    recipe = tmp_path / "other.flags"
    recipe.write_text("--method=swav\n--epsilon=0.03\n--epochs=1\n")
    arguments = [f"--flagfile={recipe}", "--method=coke"]
    assert status("train", *arguments, "--data=digits:") == 2
    said, error = capsys.readouterr()
    assert said.count("Not read: --epsilon is read only by method=swav") == 1
    assert "workdir must be given" in error  # the next thing that is missing
    assert status("train", *arguments, "--epsilon=0.03") == 2
    assert "--epsilon is read only by" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--minutes=5", "--epochs=3"], "minutes is for a plan"),
        (["--minutes=0"], "minutes must be at least"),
        (["--workdir="], "workdir must be given"),
        (["--data="], "data must be given"),
    ],
)
def test_what_cannot_be_planned_is_refused_at_once(
    arguments, words, tmp_path, capsys
):
    usual = ["--data=digits:", f"--workdir={tmp_path / 'run'}"]
    assert status("train", *usual, *arguments) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("length", [[], ["--epochs=2"], ["--steps=9"]])
@pytest.mark.parametrize("recipe", [[], [NO_PLAN]])
def test_a_plan_is_made_unless_a_recipe_has_a_length(
    length, recipe, tmp_path, monkeypatch
):
    called = []

    def run(words, check):
        called.append(words)
        return subprocess.CompletedProcess(words, returncode=2)

    monkeypatch.setattr(train.subprocess, "run", run)
    # A run would refuse both, since its views have one size of 224 pixels.
    views = ["--num_views=2,6", "--resize_size=40"]
    given = ["--data=digits:", f"--workdir={tmp_path}", *views]
    assert status("train", *given, *recipe, *length) == 2
    assert bool(called) != bool(recipe and length)
    if called:
        assert {"tfclust.advise", *length, *given} < set(called[0])


def test_a_plan_ended_by_the_kernel_ends_in_one_line(
    tmp_path, capsys, monkeypatch
):
    def killed(arguments, **knobs):
        return subprocess.CompletedProcess(arguments, -signal.SIGKILL)

    monkeypatch.setattr(subprocess, "run", killed)
    workdir = tmp_path / "run"
    assert status("train", "--data=digits:", f"--workdir={workdir}") == 2
    error = capsys.readouterr().err
    assert "Received: SIGKILL" in error and "Lower --batch_size or" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{}/nowhere", "data must be a folder that exists, or a URI"),
        ("tfrecord_stream:{}/a.tfrecord", "a plan needs to know the images"),
        ("{}/one", "data must have two images at least, to tell them apart"),
    ],
)
def test_images_that_cannot_be_planned_for_end_in_one_line(
    data, words, tmp_path, capsys
):
    (tmp_path / "a.tfrecord").write_bytes(good(8))
    write_digits(tmp_path / "one", count=1, by_class=False)
    data = data.format(tmp_path)
    output = f"--output={tmp_path / 'plan.flags'}"
    assert status("advise", f"--data={data}", output) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "plan.flags").exists()


def test_list_of_images_that_cannot_be_read_outlives_the_refused_plan(
    tmp_path, capsys
):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"no image")
    output = f"--output={tmp_path / 'plan.flags'}"
    assert status("advise", f"--data={tmp_path}", output) == 2
    listed = re.search(r"All are listed in (\S+)\.$", capsys.readouterr().err)
    listed = pathlib.Path(listed[1])
    assert [s.split("\t")[0] for s in listed.read_text().splitlines()] == [
        "a.jpg",
        "b.jpg",
    ]
    shutil.rmtree(listed.parent)
