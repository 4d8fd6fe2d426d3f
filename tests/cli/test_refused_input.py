"""Input that a command refuses in one line, or reports before it continues."""

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import TINY, status, write_digits
from tests.support.image_files import encoded, example, write_records
from tfclust.training import checks

pytestmark = pytest.mark.usefixtures("one_block")

SHORT = ["--workdir=W", "--epochs=1"]


@pytest.mark.slow
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


@pytest.mark.slow
def test_missing_labels_of_a_few_records_are_reported(tmp_path, capsys):
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


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("train", ["--epochs=1"], "workdir must be given"),
        ("train", ["--min_cluster=3"], "read only by method=odc"),
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
        ("train", [*SHORT, "--batch_size=0"], "batch_size must be at least 1"),
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
