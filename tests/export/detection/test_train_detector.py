"""The commands: training, going on exactly, measuring, serving, drawing."""

import dataclasses
import json
import os
import signal
import time

import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("keras_hub")

from export.detection import (
    annotated,
    batches,
    detect,
    jitter,
    predictions,
    saving,
    state,
    train_detector,
    training,
)
from export.detection.config import DetectorConfig
from tests.support import detectors, processes
from tests.support.disk import full_disk
from tests.support.image_files import encoded, picture
from tests.support.marks import slow
from tfclust.cli import flags
from tfclust.runtime.folders import DiskError

KNOBS = {
    "image_size": 64,
    "levels": (3, 4),
    "anchor_size": 3.0,
    "head_convolutions": 0,
    "batch_size": 2,
    "steps": 4,
    "warmup_steps": 1,
    "save_every": 2,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a backbone, images to learn, and two to measure on."""
    folder = tmp_path_factory.mktemp("made")
    backbone = detectors.tiny_backbone(deepest=4)
    detectors.export_backbone(folder / "backbone", backbone, 64)
    detectors.write_voc(folder / "train", detectors.squares(6))
    detectors.write_voc(folder / "test", detectors.squares(2, seed=5))
    return folder


@pytest.fixture(scope="module")
def data(made):
    return annotated.open_annotated(f"voc:{made}/train", max_bad_share=0)


def config_of(made, workdir, **other):
    return DetectorConfig(
        saved_model=str(made / "backbone"),
        data=f"voc:{made}/train",
        workdir=str(workdir),
        **{**KNOBS, **other},
    )


def words(made, workdir, *more):
    knobs = [f"--{k}={v if not isinstance(v, tuple) else ','.join(map(str, v))}"
             for k, v in KNOBS.items()]  # fmt: skip
    return [
        f"--saved_model={made}/backbone",
        f"--data=voc:{made}/train",
        f"--eval_data=voc:{made}/test",
        f"--workdir={workdir}",
        *knobs,
        *more,
    ]


def status(command, arguments):
    config = {train_detector: DetectorConfig, detect: detect.DetectConfig}
    flags.define(config[command])
    return flags.status(command.main, ["command.py", *arguments])


def values(trainer):
    return [v.numpy() for v in trainer.variables()]


def trained(config, data, folder):
    folder.mkdir(exist_ok=True)
    return training.train(config, data, folder, say=lambda words: None)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_killed_and_resumed_equals_never_killed(made, data, tmp_path):
    config = config_of(made, "x")
    whole, stopped = trained(config, data, tmp_path / "whole")
    assert not stopped

    class Killed(BaseException):
        pass

    def third_step(*arguments, step=training.Trainer.step):
        if arguments[1] == 3:  # after the checkpoint of step 2
            raise Killed
        return step(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Trainer, "step", third_step)
        with pytest.raises(Killed):
            trained(config, data, tmp_path / "killed")
    resumed, _ = trained(config, data, tmp_path / "killed")
    for one, other in zip(values(whole), values(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    rows = [tmp_path / run / "metrics.jsonl" for run in ("whole", "killed")]
    assert rows[0].read_text() == rows[1].read_text()
    with pytest.raises(ValueError, match="learning_rate=0.005.*0.1"):
        other = dataclasses.replace(config, learning_rate=0.1)
        trained(other, data, tmp_path / "killed")
    fewer = data._replace(boxes=[b + 1 for b in data.boxes])
    with pytest.raises(ValueError, match="other images or boxes"):
        trained(config, fewer, tmp_path / "killed")


def test_checkpoints_are_whole_or_not_there(tmp_path):
    variables = [tf.Variable(np.arange(3000.0), name="a")]
    for step in (1, 2, 3):
        state.save(tmp_path, step, variables, {"n": step})
    kept = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert kept == ["00000002.npz", "00000003.npz"]
    with full_disk(1000), pytest.raises(DiskError, match="of step 4"):
        state.save(tmp_path, 4, variables, {})
    newest = tmp_path / "checkpoints" / "00000003.npz"
    newest.write_bytes(newest.read_bytes()[:-2000])
    said = []
    about, arrays = state.newest(tmp_path, said.append)
    assert about["n"] == 2 and "damaged checkpoint" in said[0]
    np.testing.assert_array_equal(arrays["0000_a:0"], np.arange(3000.0))
    with pytest.raises(ValueError, match="variables of the detector"):
        state.restore([tf.Variable([1.0], name="a")], arrays)
    (tmp_path / "checkpoints" / "00000002.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="only damaged checkpoints"):
        state.newest(tmp_path, said.append)


@pytest.fixture(scope="module")
def run(made, tmp_path_factory):
    """A finished run of the command."""
    workdir = tmp_path_factory.mktemp("run")
    assert status(train_detector, words(made, workdir)) == 0
    return workdir


def test_command_leaves_figures_and_a_served_detector(made, run, data):
    figures = json.loads((run / "evaluation.json").read_text())
    assert {"map", "map50", "voc07", "voc12", "by_class"} <= figures.keys()
    assert (run / "left_out.txt").read_text() == ""
    rows = (run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [2, 4]
    card = json.loads((run / "saved_model/1/model_card.json").read_text())
    assert card["class_names"] == ["green", "red"]


@pytest.mark.parametrize(
    "data, versions",
    # Of other figures, there is another model card.
    [("test", 0), slow("train", 1)],
)
def test_the_same_command_again_publishes_no_other_version(
    made, run, monkeypatch, data, versions
):
    saved = []

    def save(*arguments):
        saved.append(arguments[2])  # the folder of versions
        return run / "saved_model/2"

    monkeypatch.setattr(saving, "save", save)
    kept = (run / "published.json").read_bytes()
    more = (f"--eval_data=voc:{made}/{data}",)
    assert status(train_detector, words(made, run, *more)) == 0
    assert saved == versions * [run / "saved_model"]
    (run / "published.json").write_bytes(kept)


def test_served_boxes_are_the_detectors_own(run, data):
    """Bytes in: what a server answers is what is measured, row by row."""
    serve = tf.saved_model.load(str(run / "saved_model/1"))
    serve = serve.signatures["serving_default"]
    sent = [data.read(0), b"", encoded(picture(200, 100)), b"\xff\xd8\xffx"]
    found = {
        k: v.numpy() for k, v in serve(image_bytes=tf.constant(sent)).items()
    }
    assert [s.decode() for s in found["status"]] == [
        "ok", "empty", "ok", "damaged",
    ]  # fmt: skip
    assert found["boxes"].shape == (4, 100, 4)
    assert found["num_boxes"][1] == found["num_boxes"][3] == 0
    assert (found["classes"][1] == -1).all()
    model = saving.load_keras(run / "saved_model")
    images, _, _ = next(iter(batches.whole(data, 64, 1)))
    pixels = tf.cast(images, tf.float32) / 255
    anchors = training.network.anchors_of(model, 64)
    own = predictions.find(
        model(pixels, training=False), anchors, tf.constant([[64, 64]]), 64
    )
    np.testing.assert_allclose(found["boxes"][0], own.boxes[0], atol=1e-3)
    np.testing.assert_allclose(found["scores"][0], own.scores[0], atol=1e-5)


def test_boxes_come_back_in_the_pixels_of_the_image():
    """A map that says where a box lies, and nothing else."""
    anchors = np.float32([[0, 0, 48, 24], [60, 60, 64, 64]])
    predicted = {
        "bbox_regression": tf.zeros([1, 2, 4]),
        "cls_logits": tf.constant([[[9.0, -9.0], [-9.0, -9.0]]]),
    }
    # 640 x 320 pixels lie in the canvas' upper half.
    found = predictions.find(predicted, anchors, tf.constant([[320, 640]]), 64)
    assert found.num_boxes.numpy().tolist() == [1]
    np.testing.assert_allclose(found.boxes[0, 0], [0, 0, 480, 240], rtol=1e-6)
    assert jitter.whole((320, 640), 64).sides.tolist() == [32, 64]


def test_detect_draws_what_was_found(made, run, tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a&b.png", "c.png"):
        (folder / name).write_bytes(encoded(detectors.squares(1)["i000"][0]))
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    page, boxes = tmp_path / "page.html", tmp_path / "boxes.jsonl"
    arguments = [f"--detector={run}/saved_model", f"--images={folder}",
                 f"--output={page}", f"--boxes={boxes}",
                 "--min_score=0"]  # fmt: skip
    assert status(detect, arguments) == 0
    html = page.read_text("utf-8")
    assert "a&amp;b.png" in html and html.count("data:image/jpeg") == 2
    assert "bad.jpg: a damaged or truncated JPEG" in html
    rows = [json.loads(line) for line in boxes.read_text().splitlines()]
    assert [row["image"] for row in rows] == ["a&b.png", "c.png"]
    out = capsys.readouterr().out
    assert "2 images" in out and "1 images not read" in out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("--saved_model=", "saved_model must be given"),
        ("--saved_model=/nowhere", "no SavedModel in /nowhere"),
        ("--data=folder:/x", "data must name images with boxes"),
        ("--eval_data=voc:", "eval_data must name images with boxes"),
        ("--levels=4,3", "Try 3,4"),
        ("--frozen_stages=9", "between 0 and"),
        ("--image_size=72", "multiple of 16"),
        ("--batch_size=7", "at most the number of images, 6"),
        (
            "--eval_data=voc:{}/other",
            "boxes of green, red. Received: only blue",
        ),
        ("--output=/proc/detectors", "output must be a folder"),
        ("--workdir=/proc/detectors", "workdir must be a folder"),
    ],
)
def test_bad_input_of_training_is_one_line(
    made, tmp_path, capsys, change, told
):
    other = {"i": (picture(9, 9), [("blue", (1, 1, 5, 5), 0)])}
    detectors.write_voc(made / "other", other)
    arguments = words(made, tmp_path, change.format(made))
    assert status(train_detector, arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and told in lines[0], lines


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--images=/tmp"], "detector must be given"),
        (["--detector=/nowhere", "--images=/tmp"], "no SavedModel"),
        (["--detector={}/backbone", "--images={}/train/JPEGImages"],
         "a feature extractor. Train a detector on it"),
        (["--detector={}/train", "--images={}/train"], "no SavedModel in"),
        (["--detector={}/backbone", "--images={}/nowhere"], "images must be"),
        (["--detector={}/backbone", "--images={}", "--output={}"],
         "output must be a file"),
        (["--detector={}/backbone", "--images={}", "--boxes=/proc/x/y"],
         "boxes must be in a folder"),
        (["--detector={}/backbone", "--images={}", "--output="],
         "output must be given"),
        (["--detector={}/backbone", "--images={}", "--boxes=found.html",
          "--output=found.html"], "must be two files"),
    ],
)  # fmt: skip
def test_bad_input_of_detect_is_one_line(
    made, tmp_path, capsys, arguments, told
):
    arguments = [word.format(made) for word in arguments]
    assert status(detect, [f"--output={tmp_path}/p.html", *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and told in lines[0], lines


@pytest.mark.slow
def test_command_killed_by_sigkill_goes_on_to_the_same_bits(made, tmp_path):
    more = ("--steps=12", "--save_every=1")
    module = ["-m", "export.detection.train_detector"]
    whole = processes.run([*module, *words(made, tmp_path / "whole", *more)])
    assert whole.returncode == 0, whole.stderr
    arguments = [*module, *words(made, tmp_path / "killed", *more)]
    process = processes.start(arguments)
    folder = tmp_path / "killed" / "checkpoints"
    began = time.monotonic()
    while not list(folder.glob("*3.npz")) and time.monotonic() < began + 300:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert not (folder / "00000012.npz").exists()
    resumed = processes.run(arguments)
    assert "Resuming from step" in resumed.stdout
    ends = [tmp_path / run / "checkpoints/00000012.npz"
            for run in ("whole", "killed")]  # fmt: skip
    one, other = (dict(np.load(end)) for end in ends)
    for name in one.keys() - {"about"}:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.slow
def test_command_asked_to_stop_saves_and_exits_130(made, tmp_path):
    more = ("--steps=5000", "--save_every=5000")
    arguments = ["-m", "export.detection.train_detector",
                 *words(made, tmp_path, *more)]  # fmt: skip
    process = processes.start(arguments)
    for line in process.stdout:
        if line.startswith("Training"):
            break
    time.sleep(15)
    process.send_signal(signal.SIGTERM)
    process.wait(120)
    assert process.returncode == 130
    assert len(os.listdir(tmp_path / "checkpoints")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains_and_is_served_in_float32(
    made, data, tmp_path, precision
):
    more = (f"--mixed_precision={precision}", "--frozen_stages=1")
    assert status(train_detector, words(made, tmp_path, *more)) == 0
    model = saving.load_keras(tmp_path / "saved_model")
    assert {layer.compute_dtype for layer in model._flatten_layers()
            if layer.weights} == {"float32"}  # fmt: skip
    assert all(np.isfinite(w).all() for w in model.get_weights())
