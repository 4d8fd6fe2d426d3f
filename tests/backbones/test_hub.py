"""`--backbone=hub:<preset>`: KerasHub's networks, from folders of random ones.

Those that need KerasHub itself (`pip install 'tfclust[hub]'`) are skipped where
it is missing.
"""

import importlib.util
import sys

import numpy as np
import pytest

from tfclust import backbones

needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is None,
    reason="KerasHub is not installed: pip install 'tfclust[hub]'",
)
SCALE, OFFSET = (1 / 60, 1 / 55, 1 / 50), (-2.0, -1.5, -1.0)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A folder with a tiny ResNet of random weights and its scaling."""
    import keras
    import keras_hub

    keras.utils.set_random_seed(1)
    network = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 128],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
    )
    for variable in network.weights:
        if "moving_" in variable.path:
            variable.assign(np.random.default_rng(2).random(variable.shape))
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=(48, 48), scale=SCALE, offset=OFFSET
    )
    folder = tmp_path_factory.mktemp("preset")
    network.save_to_preset(str(folder))
    converter.save_to_preset(str(folder))
    return network, folder


def config(folder, **knobs):
    return backbones.BackboneConfig(backbone=f"hub:{folder}", **knobs)


@needs_hub
def test_weights_and_scaling_are_those_of_the_preset(preset, images):
    network, folder = preset
    told = []
    backbone = backbones.from_config(
        config(folder, init_from="hub"), image_size=32, say=told.append
    )
    maps = network(255 * images * SCALE + OFFSET, training=False)
    np.testing.assert_allclose(
        backbone(images), np.mean(maps, axis=(1, 2)), rtol=1e-4, atol=1e-5
    )
    assert told == [f"Weights of hub:{folder}: those of KerasHub's preset."]


@needs_hub
def test_without_init_from_weights_are_random(preset):
    network, folder = preset
    backbone = backbones.from_config(config(folder), image_size=32)
    kernel = backbone.get_weights()[0]
    assert kernel.shape == network.get_weights()[0].shape
    assert np.any(kernel != network.get_weights()[0])


@needs_hub
def test_its_backbone_file_needs_no_kerashub(preset):
    backbone = backbones.build(f"hub:{preset[1]}")
    packages = {type(layer).__module__ for layer in backbone.layers}
    assert all(name.startswith("keras.src.layers") for name in packages)


@needs_hub
def test_its_stages_are_frozen_and_filled_like_any(preset):
    backbone = backbones.from_config(
        config(preset[1], init_from="hub", init_stages=1, frozen_stages=1),
        image_size=32,
    )
    trained = {id(v) for v in backbone.trainable_variables}
    stem, later = backbones.stages(backbone)[:2]
    assert not trained & {id(v) for v in stem}
    assert trained & {id(v) for v in later}


@needs_hub
def test_a_vision_transformer_gives_its_class_token(tmp_path, images):
    import keras_hub

    network = keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3),
        patch_size=16,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=16,
    )
    network.save_to_preset(str(tmp_path))
    keras_hub.layers.ViTImageConverter(
        image_size=(32, 32), scale=1 / 255
    ).save_to_preset(str(tmp_path))
    backbone = backbones.from_config(
        config(tmp_path, init_from="hub"), image_size=32
    )
    expected = network(images, training=False)[:, 0]
    np.testing.assert_allclose(backbone(images), expected, atol=1e-5)
    with pytest.raises(ValueError, match="takes images of 32 px only.*Give 32"):
        backbones.check_size(backbone, "image_size", 64)


@needs_hub
def test_a_folder_that_is_no_preset_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="KerasHub cannot give this") as error:
        backbones.build(f"hub:{tmp_path}")
    assert "\n" not in str(error.value)


@needs_hub
def test_missing_network_is_one_line(monkeypatch):
    import keras_hub

    def offline(*args, **kwargs):
        raise OSError("Max retries exceeded\nwith url: /api")

    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", offline)
    with pytest.raises(ValueError, match="Max retries.*Connect this") as error:
        backbones.build("hub:resnet_50_imagenet")
    assert "\n" not in str(error.value)


def test_without_kerashub_the_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ValueError, match=r"pip install 'tfclust\[hub\]'"):
        backbones.build("hub:resnet_50_imagenet")


@pytest.mark.parametrize(
    "knobs, words",
    [
        ({"backbone": "hub:"}, "must name a preset"),
        ({"backbone": "hub:x", "width": 2}, "width=2"),
        ({"backbone": "hub:x", "sobel": True}, "sobel=True"),
        ({"backbone": "resnet50", "init_from": "hub"}, "a preset of KerasHub"),
        ({"backbone": "hub:x", "init_from": "imagenet"}, "keras.applications"),
    ],
)
def test_settings_that_make_no_sense_are_refused(knobs, words):
    with pytest.raises(ValueError, match=words):
        backbones.BackboneConfig(**knobs)
