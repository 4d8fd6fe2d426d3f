"""Values of the published recipes, against their sources' own formulas."""

import re

import numpy as np
import pytest

from tests.cli import test_recipes
from tests.support.processes import ROOT
from tfclust.optimizers import learning_rate

IMAGENET = sorted(ROOT.glob("configs/*/imagenet*.flags"))
ON_ALEXNET = [
    "fixed_labels/imagenet_rotation_90ep",
    "sela/cifar100_400ep",
    "sela/cifar10_400ep",
    "sela/imagenet_alexnet_10k_400ep",
    "sela/imagenet_alexnet_1k_400ep",
    "sela/imagenet_alexnet_400ep",
    "sela/svhn_400ep",
]


def read(name):
    return test_recipes.read(ROOT / "configs" / f"{name}.flags")


def rates(name, steps_per_epoch=2):
    """Rate `[epochs * steps_per_epoch]` of every step of a recipe."""
    recipe = read(name)
    total = recipe.run.epochs * steps_per_epoch
    schedule = learning_rate(
        recipe.optimizer, steps_per_epoch=steps_per_epoch, total_steps=total
    )
    return np.asarray(schedule(np.arange(total)))


def header(file):
    """The comments above a recipe's flags, in one line."""
    lines = file.read_text().splitlines()
    return " ".join(line[1:].strip() for line in lines if line.startswith("#"))


# The rate of an epoch (from 0), as each source's own formula has it.
DROPS = {
    # self-label, retrain_with_rotnet.py, lr_schedule
    "fixed_labels/imagenet_rotation_90ep": lambda epoch: (
        0.05 * 0.1 ** (epoch // 30 if epoch < 80 else 3)
    ),
    # self-label, main.py, lr_schedule
    "sela/imagenet_alexnet_400ep": lambda epoch: (
        0.05 * 0.1 ** (epoch // 150 if epoch < 350 else 3)
    ),
    # CMC, util.py, adjust_learning_rate, where epochs count from 1
    "sela/imagenet_augplus_280ep": lambda epoch: (
        0.05 * 0.1 ** sum(epoch + 1 > drop for drop in (120, 160, 200))
    ),
    # self-label, cifar.py
    "sela/cifar10_400ep": lambda epoch: (
        0.03 * 0.1 ** (max(0, epoch - 160) // 80)
    ),
}


@pytest.mark.parametrize("name", DROPS)
def test_the_rate_drops_where_the_source_drops_it(name):
    found = rates(name)
    expected = [DROPS[name](step // 2) for step in range(len(found))]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "name", ["coke/imagenet_1view_1000ep", "coke/imagenet_multicrop_800ep"]
)
def test_cokes_rate_is_the_sources_but_for_one_step_of_the_warmup(name):
    epoch = 1_251  # steps
    found = rates(name, epoch)
    step = np.arange(len(found))
    warm = 11 * epoch
    # CoKe, main_single_view.py, adjust_learning_rate
    rising = 1.6 * np.maximum(1, step - epoch) / (warm - epoch)
    share = (step - warm) / (len(step) - warm)
    falling = 0.8 * (1 + np.cos(np.pi * share))
    expected = np.where(step < warm, rising, falling)
    expected[:epoch] = 0
    np.testing.assert_allclose(found[warm:], expected[warm:], atol=1e-6)
    # Here the warm-up ends at the top, there one step below it.
    one_step = 1.6 / (warm - epoch)
    np.testing.assert_allclose(found, expected, atol=1.01 * one_step)


def test_the_w5_run_has_the_papers_batch_and_vissls_network():
    recipe = read("swav/imagenet_w5_400ep")
    assert recipe.run.batch_size == 128 * 12
    assert recipe.method.queue_rows == recipe.run.batch_size
    assert recipe.method.queue_start_epoch == 0
    assert recipe.method.hidden_width == 2048 * 5
    assert recipe.method.hidden_batch_norm is False
    w2 = read("swav/imagenet_w2_400ep").views
    for crops in ("view_sizes", "num_views", "view_scales"):
        assert getattr(recipe.views, crops) == getattr(w2, crops), crops


@pytest.mark.parametrize("width", ["w2", "w4", "w5"])
def test_wide_networks_keep_the_rate_of_batch_4096(width):
    """SwAV, B.2: all other hyperparameters are those of A.1."""
    wide = read(f"swav/imagenet_{width}_400ep").optimizer
    assert wide == read("swav/imagenet_400ep").optimizer
    assert wide.learning_rate == 4.8


def test_batch_and_rate_of_a_header_are_those_of_the_flags():
    for file in IMAGENET:
        recipe, words = test_recipes.read(file), header(file)
        for word, value in (
            ("batch", recipe.run.batch_size),
            ("rate", recipe.optimizer.learning_rate),
        ):
            told = re.search(rf"\b{word} (\d+(?:\.\d+)?)", words, re.I)
            assert told is None or float(told[1]) == value, (file.stem, told)


@pytest.mark.parametrize("name", ON_ALEXNET)
def test_heads_on_alexnet_start_as_the_source_has_them(name):
    assert read(name).method.head_start == "normal"
