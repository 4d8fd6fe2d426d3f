"""What sizes of images a plan knows that a network takes."""

import importlib.util

import pytest

from tfclust.backbones import BackboneConfig
from tfclust.training.planning.limits import Limits, limits
from tfclust.training.planning.starting import Start

ONE_SIZE = {"one_size": True}


def of(name, start=None, **knobs):
    return limits(BackboneConfig(backbone=name, **knobs), start)


@pytest.mark.parametrize("name", ["small", "resnet50"])
def test_networks_of_any_size_have_no_limits(name):
    assert of(name) == Limits()


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("VGG16", 32),
        pytest.param("InceptionV3", 75, marks=pytest.mark.slow),
        pytest.param("MobileNetV2", 31, marks=pytest.mark.slow),
    ],
)
def test_layers_tell_the_least_size(name, least):
    assert of(name) == Limits(least)


@pytest.mark.parametrize(("name", "least"), [("alexnet", 63), ("vgg16_bn", 32)])
def test_fully_connected_layers_take_one_size(name, least):
    assert of(name) == Limits(least, None, **ONE_SIZE)
    # Given weights belong to the size that they were trained at,
    run = Start({"backbone": name}, 96)
    assert of("resnet50", run) == Limits(96, 96, **ONE_SIZE)
    published = {"init_from": "alexnet.pth"}
    assert of(name, Start({}), **published) == Limits(224, 224, **ONE_SIZE)
    # but those of the convolutions do not.
    stages = {**published, "init_stages": 4}
    assert of(name, Start({}), **stages) == Limits(least, None, **ONE_SIZE)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is None,
    reason="KerasHub is not installed: pip install 'tfclust[hub]'",
)
def test_a_transformer_takes_the_size_of_its_preset(tmp_path):
    import keras_hub

    network = keras_hub.models.ViTBackbone(
        image_shape=(48, 48, 3),
        patch_size=(16, 16),
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=8,
    )
    network.save_to_preset(str(tmp_path))
    converter = keras_hub.layers.ViTImageConverter(image_size=(48, 48))
    converter.save_to_preset(str(tmp_path))
    assert of(f"hub:{tmp_path}") == Limits(48, 48, **ONE_SIZE)
