"""What weights to start from say of their network before images are read."""

import json

import numpy as np
import pytest

from tests.support.small_runs import recipe
from tfclust import backbones
from tfclust.backbones import BackboneConfig
from tfclust.export import ExportConfig
from tfclust.runs import checkpoints, exporting_weights, recipes
from tfclust.saved_model import BACKBONE_FILE, CARD_FILE
from tfclust.training.planning import plan
from tfclust.training.planning.starting import Start, start

NETWORK = {"backbone": "resnet18", "image_mean": (0.5, 0.5, 0.5)}


def config(path, **knobs):
    return BackboneConfig(init_from=str(path), **knobs)


@pytest.fixture
def words(tmp_path):
    made = recipe(tmp_path / "run", **NETWORK, image_size=24)
    return recipes.to_words(made)


@pytest.fixture
def run(tmp_path, words):
    """The folder of a run, with a checkpoint of no weights."""
    about = {"recipe": words}
    checkpoints.save(tmp_path / "run", 1, {"a": np.zeros(1)}, about=about)
    return tmp_path / "run"


def test_a_run_says_its_network_and_the_size_of_its_images(run):
    # Larger images now must not change the stem.
    expected = {**NETWORK, "small_image_stem": "yes"}
    assert start(config(run), {}) == Start(expected, 24)


def test_an_export_says_what_its_run_does(run, words, tmp_path):
    version = tmp_path / "export" / "3"
    (version / BACKBONE_FILE).parent.mkdir(parents=True)
    (version / BACKBONE_FILE).touch()
    sizes = {"centre_crop": 24, "resize_short_side": 24}
    card = {"recipe": words, "preprocessing": sizes}
    (version / CARD_FILE).write_text(json.dumps(card))
    assert start(config(version.parent), {}) == start(config(run), {})


@pytest.mark.slow
def test_an_export_of_a_file_says_the_network_that_it_was_given(tmp_path):
    weights, export = tmp_path / "own.keras", tmp_path / "export"
    knobs = {"backbone": "small", "sobel": True}
    backbones.build(knobs["backbone"], sobel=True).save(weights)
    exporting_weights.export_weights(
        ExportConfig(init_from=str(weights), output=str(export), image_size=40),
        config(weights, **knobs),
    )
    assert start(config(export), {}) == Start(knobs, 40)


def test_another_backbone_than_the_runs_is_refused(run):
    wrong = config(run, backbone="small")
    with pytest.raises(ValueError, match="holds weights of backbone resnet18"):
        start(wrong, {"backbone": "small"})
    assert start(config(run, backbone="resnet18"), {"backbone": "resnet18"})


@pytest.mark.parametrize(
    ("name", "knobs"),
    [
        # Published ones have ImageNet's stem, even for small images.
        ("swav_800ep_pretrain.pth.tar", {"small_image_stem": "no"}),
        ("own.keras", {}),
    ],
)
def test_files_need_a_backbone_before_images_are_opened(
    name, knobs, tmp_path, monkeypatch
):
    (tmp_path / name).touch()
    given = {"data": "digits:", "init_from": str(tmp_path / name)}
    monkeypatch.delattr(plan.images, "open_images")
    with pytest.raises(ValueError, match="Give resnet50 for what SwAV"):
        plan.make(given, minutes=1.0)
    given = {"backbone": "resnet50"}
    assert start(config(tmp_path / name, **given), given) == Start(knobs)


def test_a_published_alexnet_has_no_stem_to_choose(tmp_path):
    given = {"backbone": "alexnet"}
    (tmp_path / "alexnet.pth").touch()
    found = start(config(tmp_path / "alexnet.pth", **given), given)
    assert found == Start({})


def test_weights_that_are_missing_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        start(config(tmp_path / "none"), {})
