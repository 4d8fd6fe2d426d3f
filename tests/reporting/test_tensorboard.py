"""What TensorBoard itself reads of a run's folder."""

import io
import json
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

from tests.support import image_files
from tests.support.commands import NO_PLAN, command
from tfclust.runs.metrics import read_metrics

program = pytest.importorskip("tensorboard.program")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on 24 images, one of them with a name of line ends and markup."""
    folder = tmp_path_factory.mktemp("tensorboard")
    for i in range(24):
        name = "a<b>\n\tc" if i == 0 else i
        image_files.write(folder / "images" / "ab"[i % 2], f"{name}.png")
    done = command(
        "train",
        NO_PLAN,
        f"--data=folder:{folder / 'images'}",
        f"--workdir={folder / 'run'}",
        "--epochs=2",
        "--batch_size=8",
        "--num_clusters=5,7",
        "--method=deepcluster_v2",
        "--backbone=small",
        "--image_size=16",
        "--warmup_epochs=0",
    )
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def ask(run):
    """Asks a TensorBoard that looks at the run's folder."""
    board = program.TensorBoard()
    board.configure(
        argv=[None, f"--logdir={run / 'tensorboard'}", "--port=0"]
        + ["--load_fast=false"]
    )
    address = board.launch()

    def answer(path):
        with urllib.request.urlopen(f"{address}data/plugin/{path}") as found:
            return found.read()

    for _ in range(100):  # it reads the files in a thread of its own
        if b"loss" in answer("scalars/tags"):
            return answer
        time.sleep(0.1)
    raise AssertionError("TensorBoard has read no scalar in 10 seconds")


def test_the_losses_are_those_of_metrics_jsonl(run, ask):
    found = json.loads(ask("scalars/scalars?run=.&tag=loss"))
    expected = [(f["step"], f["loss"]) for f in read_metrics(run)]
    for (_, step, loss), (at, of) in zip(found, expected, strict=True):
        assert step == at
        assert loss == pytest.approx(of, rel=1e-6)  # written as float32


@pytest.mark.parametrize(("head", "clusters"), [(0, 5), (1, 7)])
def test_the_histogram_counts_every_cluster_once(ask, head, clusters):
    path = f"histograms/histograms?run=.&tag=cluster_sizes/head_{head}"
    found = json.loads(ask(path))
    assert [step for _, step, _ in found] == [3, 6]
    for _, _, buckets in found:
        left, right, count = np.array(buckets).T
        assert count.sum() == clusters
        # 24 images of which each cluster has a share.
        assert 0 <= (left * count).sum() <= 24 <= (right * count).sum()


def test_the_projector_has_features_names_and_pictures_of_all_images(ask):
    assert json.loads(ask("projector/runs")) == ["."]
    info = json.loads(ask("projector/info?run=."))["embeddings"][0]
    count, width = info["tensorShape"]
    numbers = np.frombuffer(
        ask("projector/tensor?run=.&name=features"), np.float32
    )
    assert count == 24 and numbers.reshape(count, width).std(axis=0).max() > 0
    words = ask("projector/metadata?run=.&name=features").decode()
    header, *lines = words.strip("\n").split("\n")
    assert header.split("\t") == ["name", "cluster", "cluster_name", "label"]
    rows = [line.split("\t") for line in lines]
    assert [len(row) for row in rows] == [4] * 24
    assert ["a/a<b>\\n\\tc.png", "a"] in [[r[0], r[3]] for r in rows]
    assert {r[3] for r in rows} == {"a", "b"}
    assert {r[1] for r in rows} <= set("01234")
    sprite = Image.open(
        io.BytesIO(ask("projector/sprite_image?run=.&name=features"))
    )
    side = info["sprite"]["singleImageDim"][0]
    assert sprite.size == (5 * side, 5 * side)  # ceil(sqrt(24)) in a line
