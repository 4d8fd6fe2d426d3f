"""The commands as a person types them: files, exit codes, one-line errors."""

import json
import os
import pathlib
import signal
import subprocess
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits

from tests.data.sources.test_sources import encoded, example, write_records
from tests.support import processes
from tests.support.marks import slow
from tests.support.processes import ROOT
from tfclust import evaluate, export, sweep, train
from tfclust.cli import flags, recipe_flags
from tfclust.runs import checkpoints
from tfclust.training import checks

TINY = [
    "--data=digits:?split=train",
    "--eval_data=digits:?split=test",
    "--max_images=64",
    "--backbone=small",
    "--image_size=8",
    "--batch_size=16",
    "--num_clusters=5",
    "--projection_width=8",
    "--hidden_width=0",
    "--freeze_steps=2",
    "--knn_images=32",
    "--flip_probability=0",
    "--augmentation=none",  # colours are compiled anew in each process
]
SHORT = ["--workdir=W", "--epochs=1"]


def environment():
    """That of a user, for a process of its own."""
    unset = {"TF_CPP_MIN_LOG_LEVEL", "PYTHONPATH"}
    return {k: v for k, v in os.environ.items() if k not in unset}


def command(name, *arguments, fresh=False):
    arguments = ["-m", f"tfclust.{name}", *arguments]
    return processes.run(arguments, env=environment(), fresh=fresh)


def status(name, *arguments):
    """The exit code of a command, run in this process."""
    if name == "train":
        recipe_flags.define()
    elif name == "sweep":
        recipe_flags.define(sweep.SweepConfig)
    elif name == "export":
        flags.define(export.ExportConfig)
    else:
        flags.define(evaluate.EvaluateConfig, evaluate.EvaluationConfig)
    modules = {"train": train, "sweep": sweep, "export": export}
    main = modules.get(name, evaluate).main
    return flags.status(main, [f"{name}.py", *arguments])


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

recipe_flags.define()
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


def test_training_on_records_leaves_nothing_on_standard_error(of_records):
    folder, done = of_records
    assert "trained\n" in done.stderr, done.stderr
    assert done.stderr.split("trained\n")[0] == ""
    assert done.stdout.count("a damaged or truncated JPEG") == 3
    listed = (folder / "skipped.txt").read_text().splitlines()
    assert len(listed) == 3
    assert listed[0].startswith("photos.tfrecord@")
    assert listed[0].endswith("\ta damaged or truncated JPEG")


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


def test_an_image_that_vanishes_in_training_is_replaced_and_listed(
    tmp_path, capsys, monkeypatch
):
    images = write_digits(tmp_path / "images", count=64, by_class=False)
    (images / "0.png").unlink()
    # Of a size of its own, so that images are read at each use.
    Image.new("RGB", (17, 16)).save(images / "0.png")
    real = checks.check_images

    def vanish(*arguments):
        (images / "7.png").unlink()
        return real(*arguments)

    monkeypatch.setattr(checks, "check_images", vanish)
    run = tmp_path / "run"
    arguments = [*TINY, f"--data=folder:{images}", "--eval_data="]
    assert status("train", *arguments, f"--workdir={run}", "--epochs=2") == 0
    why = "7.png: No such file or directory"
    assert capsys.readouterr().out.count(why) == 1
    listed = (run / "skipped.txt").read_text()
    assert listed == "7.png\tNo such file or directory (after the check)\n"


def test_a_disk_that_goes_in_training_ends_it_with_one_line(
    tmp_path, capfd, monkeypatch
):
    images = write_digits(tmp_path / "images", count=64, by_class=False)
    Image.new("RGB", (17, 16)).save(images / "0.png")  # a size of its own
    real = checks.check_images

    def vanish(*arguments):
        for path in images.iterdir():
            path.unlink()
        return real(*arguments)

    monkeypatch.setattr(checks, "check_images", vanish)
    arguments = [*TINY, f"--data=folder:{images}", "--eval_data="]
    run = tmp_path / "run"
    assert status("train", *arguments, f"--workdir={run}", "--epochs=2") == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and "Is the disk still there?" in error


def test_missing_labels_of_a_few_records_are_told(tmp_path, capsys):
    image = encoded(np.zeros((8, 8, 3), np.uint8))
    records = [example(image, None if i < 4 else 1) for i in range(20)]
    write_records(tmp_path / "a.tfrecord", records)
    uri = f"tfrecord:{tmp_path / 'a.tfrecord'}"
    words = "4 of 20 records have no label: figures by label are left out"
    arguments = [*TINY, f"--data={uri}", "--workdir=" + str(tmp_path / "run")]
    assert status("train", *arguments, "--epochs=1") == 2
    assert words in capsys.readouterr().err
    assert status("train", *arguments, "--epochs=1", "--eval_data=") == 0
    assert f"{uri}: {words}.\n" in capsys.readouterr().out


def test_written_config_repeats_the_run(run, tmp_path):
    workdir, _ = run
    again = status(
        "train",
        f"--flagfile={workdir / 'config.flags'}",
        f"--workdir={tmp_path}",
        "--epochs=1",  # the same until there, but for the rate's schedule
        "--schedule=constant",
    )
    assert again == 0
    written = (tmp_path / "config.flags").read_text()
    original = (workdir / "config.flags").read_text()
    assert set(original.splitlines()) - set(written.splitlines()) == {
        f"--workdir={workdir}",
        "--epochs=2",
        "--schedule=cosine",
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


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("train", ["--epochs=1"], "workdir must be given"),
        ("train", ["--min_cluster=3"], "read by method=odc alone"),
        ("train", ["--epsilon=0"], "epsilon must be at least 0.001"),
        ("train", ["--steps=1", "--epochs=1"], "either epochs or steps"),
        (
            "train",
            ["--workdir=W", "--epochs=1", "--batch_size=65"],
            "batch of 65",
        ),
        (
            "train",
            ["--workdir=W", "--epochs=1", "--num_clusters=99"],
            "64 images",
        ),
        ("train", ["--workdir=W", "--epochs=1", "--queue_rows=40"], "Try 32"),
        ("train", ["--workdir=W", "--epochs=1", "--data=folder:F"], "Found"),
        ("train", [*SHORT, "--eval_data=x"], "Received: eval_data=x"),
        ("train", [*SHORT, "--eval_data=folder:F"], "eval_data=folder: exp"),
        (
            "train",
            [*SHORT, "--eval_data=digits:?split=all"],
            "64 of 1797 images are in data",
        ),
        ("train", ["--method=swaw"], "--method must be one of swav"),
        (
            "train",
            [*SHORT, "--accumulate_steps=2"],
            "accumulate_steps must be 1: codes or labels, batch norm",
        ),
        ("train", [*SHORT, "--accumulate_steps=0"], "at least 1"),
        ("train", [*SHORT, "--seed=4294967296"], "seed must be at most 42949"),
        ("train", [*SHORT, "--learning_rate=inf"], "learning_rate must be a f"),
        ("train", ["--workdir=/dev/null", "--epochs=1"], "workdir=/dev/null"),
        ("train", ["--workdir=/proc/x", "--epochs=1"], "workdir=/proc/x"),
        ("evaluate", ["--workdir=W", "--evaluation_seed=-1"], "at least 0"),
        (
            "evaluate",
            ["--workdir=W", "--evaluation_seed=4294967296"],
            "evaluation_seed must be at most 42949",
        ),
        ("train", [*SHORT, "--backbone=EfficientNetB0"], "Give 32 or more"),
        ("export", [], "workdir must be given"),
        ("export", ["--workdir=W"], "holds no run"),
        ("evaluate", ["--workdir=W"], "holds no run"),
    ],
)
def test_bad_input_exits_with_2_and_one_line(
    tmp_path, capsys, name, arguments, message
):
    arguments = [a.replace("=W", f"={tmp_path}") for a in arguments]
    if name == "train":
        arguments = [*TINY, *arguments]
    assert status(name, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{name}: ") and error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "config.flags").exists()


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


def write_digits(folder, *, count, by_class):
    """The first digits as PNG files of 16 pixels; returns the folder."""
    digits = load_digits()
    for i in range(count):
        where = folder / (f"digit {digits.target[i]}" if by_class else "")
        where.mkdir(parents=True, exist_ok=True)
        pixels = np.uint8(digits.images[i] * 15.9).repeat(2, 0).repeat(2, 1)
        Image.fromarray(pixels).save(where / f"{i}.png")
    return folder


def readme_lines(images, folder):
    """README's three lines for own images, on `images`, as `status` wants."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Your own images")[1].split("##")[0]
    lines = [s for s in section.splitlines() if ".venv/bin/python" in s]
    for line in lines:
        line = line.replace("/my/images", str(images))
        line = line.replace("runs/mine", f"{folder}/run")
        line = line.replace("exports/mine", f"{folder}/export")
        yield [line.split("tfclust.")[1].split()[0], *line.split(" --")[1:]]


@pytest.mark.parametrize("by_class", [True, slow(False)])
def test_readmes_three_lines_serve_own_images(
    tmp_path, capsys, monkeypatch, by_class
):
    """Class folders get figures; without them a line says what is missing."""
    monkeypatch.chdir(ROOT)
    images = write_digits(tmp_path / "images", count=150, by_class=by_class)
    shorter = ["epochs=1", "warmup_epochs=0", "batch_size=50", "image_size=32"]
    codes, printed = {}, {}
    for name, *arguments in readme_lines(images, tmp_path):
        if name == "train":
            arguments += shorter
        elif name == "evaluate":
            arguments += ["cluster_restarts=2", "baselines="]
        codes[name] = status(name, *(f"--{a}" for a in arguments))
        printed[name] = capsys.readouterr()
    assert list(codes.values()) == [0, 0 if by_class else 2, 0], printed
    told = printed["evaluate"].err
    if not by_class:
        assert told.count("\n") == 1 and "class folders" in told
        return
    assert told.splitlines()[0].endswith("held out to test on, 30 of 150.")
    assert "weighted 20-NN, top-1 %" in printed["evaluate"].out
    figures = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert figures["trained"]["linear"]["top1"] > 0.3  # 0.1 by chance


def test_killed_training_saves_exits_with_130_and_goes_on(tmp_path):
    arguments = [*TINY, f"--workdir={tmp_path}", "--steps=2000"]
    arguments = ["-m", "tfclust.train", *arguments, "--knn_images=0"]
    process = processes.start(arguments, env=environment())
    try:
        for line in process.stdout:
            if line.startswith("epoch 2"):
                process.send_signal(signal.SIGTERM)
                break
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "is saved in" in out
    step = checkpoints.latest(tmp_path).step
    assert 8 <= step < 2000
    limit = time.monotonic() + 100
    again = processes.start(arguments, env=environment())
    try:
        first = again.stdout.readline()
        while not first.startswith("Goes on") and time.monotonic() < limit:
            first = again.stdout.readline()
        assert f"from step {step:,}" in first
        # Ctrl-C, once steps are made.
        while not again.stdout.readline().startswith("epoch"):
            assert time.monotonic() < limit
        again.send_signal(signal.SIGINT)
        out, _ = again.communicate(timeout=120)
    finally:
        again.kill()
    assert again.returncode == 130 and "is saved in" in out
    assert checkpoints.latest(tmp_path).step > step


COUNTED = """
import os, signal, sys
from tfclust.cli import flags, recipe_flags
from tfclust import train
from tfclust.data.reading import scan

blocks, check = [], scan.check_images

def counted(read, count, tell):
    blocks.append(count)
    if len(blocks) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGINT)
    return check(read, count, tell)

scan.check_images = counted
recipe_flags.define()
try:
    flags.run(train.main, ["train.py", *sys.argv[2:]])
finally:
    print("checked", sum(blocks))
"""


def test_an_interrupted_check_of_the_images_goes_on_where_it_was(tmp_path):
    for i in range(300):  # more than a block
        image = Image.new("RGB", (8, 8), (i % 256, 0, 0))
        image.save(tmp_path / f"{i:03}.png")
    arguments = [*TINY[3:], f"--data=folder:{tmp_path}"]
    arguments += ["--knn_images=0", "--steps=1", f"--workdir={tmp_path / 'w'}"]
    stopped = processes.run(["-c", COUNTED, 2, *arguments])
    assert stopped.returncode == 130, stopped.stderr
    assert stopped.stderr == "train: interrupted.\n"
    assert not (tmp_path / "w" / "checkpoints").exists()
    done = processes.run(["-c", COUNTED, 0, *arguments])
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"checked {300 - 256}\n")


MIRRORED = [*TINY, "--num_replicas=2", "--epochs=1"]


@pytest.mark.slow
def test_two_replicas_train_by_one_flag(tmp_path):
    done = command("train", *MIRRORED, f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "2 replicas" in done.stdout
    assert checkpoints.latest(tmp_path).step == 4


def test_batch_that_replicas_cannot_share_is_refused(tmp_path):
    done = command(
        "train", *MIRRORED, f"--workdir={tmp_path}", "--batch_size=15"
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "batch_size=15 with 2 replicas. Try 14" in line


def test_a_compiled_step_is_refused_on_several_replicas(tmp_path):
    """Before the images are opened, which may take long."""
    done = command(
        "train", *MIRRORED, f"--workdir={tmp_path}", "--jit_compile=true",
        f"--data=folder:{tmp_path}",
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "jit_compile=True with 2 replicas. Leave it off" in line


def start_worker(workdir, ports, index):
    """One of two hosts on this computer."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    task = {"type": "worker", "index": index}
    config = json.dumps({"cluster": cluster, "task": task})
    return processes.start(
        ["-m", "tfclust.train", *TINY, "--steps=2000", f"--workdir={workdir}"],
        env={**environment(), "TF_CONFIG": config},
        stderr=subprocess.STDOUT,
        fresh=index == 1,
    )


@pytest.mark.slow
def test_two_hosts_train_and_stop_together_when_one_is_asked(tmp_path):
    ports = processes.free_ports(2)
    workers = [start_worker(tmp_path, ports, index) for index in (0, 1)]
    outputs = ["", ""]
    try:
        for line in workers[0].stdout:
            outputs[0] += line
            if line.startswith("epoch 1"):
                workers[1].send_signal(signal.SIGTERM)
                break
        for index, worker in enumerate(workers):
            outputs[index] += worker.communicate(timeout=120)[0]
    finally:
        for worker in workers:
            worker.kill()
    told = "\n".join(outputs)
    assert [w.returncode for w in workers] == [130, 130], told
    assert "epoch" not in outputs[1]  # the first host alone tells and writes
    saved = checkpoints.latest(tmp_path)
    assert saved.about["machine"]["replicas"] == 2
    assert f"step {saved.step} of 2000 is saved" in outputs[0]
