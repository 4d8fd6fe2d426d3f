"""Runs with one fault each are told of that fault; a healthy one of none."""

import os

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import NO_PLAN, command

pytestmark = pytest.mark.slow
DIGITS = (
    NO_PLAN,
    "--data=digits:?split=train",
    "--backbone=small",
    "--image_size=16",
    "--batch_size=32",
    "--num_clusters=20",
    "--optimizer=sgd",
    "--learning_rate=0.2",
    "--warmup_epochs=0",
    "--jitter_strength=0.5",
    "--flip_probability=0",
    "--knn_images=0",
    "--seed=0",
)


def told(folder, *flags):
    """The sentences of a run on what is wrong with it, without repetitions."""
    if not any(flag.startswith("--method") for flag in flags):
        flags = ("--freeze_steps=8", *flags)
    done = command("train", *DIGITS, f"--workdir={folder / 'run'}", *flags)
    assert done.returncode == 0, done.stderr
    return [
        line.strip()
        for line in done.stdout.splitlines()
        if line.startswith("  ") and not line.endswith((" left", "before)."))
    ]


def greys(folder, shades, size):
    """A folder of images of one grey each."""
    folder.mkdir()
    for i, shade in enumerate(shades):
        pixels = np.full((*size, 3), shade, np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03}.jpg")
    return f"--data=folder:{folder}"


def test_a_healthy_run_is_told_nothing(tmp_path):
    assert told(tmp_path, "--epochs=12", "--epsilon=0.03") == []


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            ("--epsilon=2", "--epochs=8"),  # uniform codes
            [("Nothing has been learnt", "(--epsilon=")],
        ),
        (
            ("--learning_rate=20", "--epochs=6"),
            [
                ("steps that are too large", "--learning_rate=10.0"),
                # Features of low rank follow.
                ("directions only", "--learning_rate=10.0"),
            ],
        ),
        (
            ("--method=deepcluster", "--num_clusters=120", "--pca_width=64")
            + ("--epochs=1",),
            [("k-means has 12 images per cluster", "--num_clusters")],
        ),
    ],
)
def test_a_fault_is_told_with_what_helps(tmp_path, flags, expected):
    sentences = told(tmp_path, *flags)
    for words in expected:
        assert any(all(w in s for w in words) for s in sentences), sentences


def test_a_queue_that_comes_too_early_is_told(tmp_path):
    """Its rows are an epoch old, while each step still changes the features."""
    flags = (
        "--batch_size=14", "--num_clusters=60", "--epsilon=0.02",
        "--freeze_steps=0", "--learning_rate=0.8",
        "--final_learning_rate=0.8", "--num_views=2", "--view_sizes=16",
        "--view_scales=0.3:1", "--epochs=2",
    )  # fmt: skip
    queue = ("--queue_rows=1022", "--queue_start_epoch=0")
    for name, given, expected in (("with", queue, 1), ("without", (), 0)):
        sentences = told(tmp_path / name, *flags, *given)
        early = [s for s in sentences if "when the queue started" in s]
        assert len(early) == expected, sentences
        assert all("(--queue_start_epoch)" in s for s in early)


def test_one_cluster_that_swallows_the_rest_is_told(tmp_path):
    """Four images of five are the same, and DeepCluster-v2 balances nothing."""
    data = greys(
        tmp_path / "alike", [128] * 320 + [*range(0, 240, 3)], (16, 16)
    )
    sentences = told(
        tmp_path, data, "--method=deepcluster_v2", "--epochs=6",
        "--jitter_strength=0",
    )  # fmt: skip
    swallowed = [s for s in sentences if "One cluster holds" in s]
    assert swallowed and "images that are alike" in swallowed[0], sentences


def test_a_run_that_waits_for_its_images_is_told(tmp_path):
    """Noise takes a JPEG's reader 60 ms, and a step of eight images 20 ms."""
    (tmp_path / "large").mkdir()
    first = tmp_path / "large" / "00.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (1800, 2400, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(first, quality=90)
    for i in range(1, 16):
        os.link(first, tmp_path / "large" / f"{i:02}.jpg")
    data = f"--data=folder:{tmp_path / 'large'}"
    sentences = told(
        tmp_path, data, "--epochs=3", "--batch_size=8", "--threads=1",
        "--num_clusters=8",
    )  # fmt: skip
    waits = [s for s in sentences if "waits" in s]
    assert waits and all("--stored_size" in s for s in waits), sentences
