"""Backbones by name: what is built, and what is refused."""

import pytest

from tfclust import backbones, options


def test_unknown_names_are_refused_with_those_known():
    known = "small, resnet18.*alexnet, vgg16_bn.*EfficientNetV2B0"
    with pytest.raises(ValueError, match=known):
        backbones.build("lenet")
    with pytest.raises(ValueError, match="Did you mean 'resnet18'"):
        backbones.build("RESNET18")
    with pytest.raises(ValueError, match="Did you mean 'EfficientNetB0'"):
        backbones.build("efficientnetb0")


@pytest.mark.parametrize(
    "name, knobs, words",
    [
        ("small", {"small_images": False}, "stem for small images"),
        ("small", {"weights": "imagenet"}, "weights=imagenet"),
        ("resnet18", {"width": 0}, "width=0"),
        ("resnet18", {"image_mean": (0.5,)}, "three numbers"),
        ("resnet18", {"image_std": (1.0, 0.0, 1.0)}, "image_std"),
        ("MobileNetV2", {"width": 2}, "width=2"),
        ("MobileNetV2", {"small_images": True}, "small_images=True"),
        ("MobileNetV2", {"image_mean": (0, 0, 0)}, "image_mean"),
        ("NASNetMobile", {}, "image size"),
    ],
)
def test_settings_that_a_network_lacks_are_refused(name, knobs, words):
    with pytest.raises(ValueError, match=words):
        backbones.build(name, **knobs)


def test_config_builds_what_it_says():
    config = backbones.BackboneConfig(
        backbone="resnet18", width=2, small_image_stem="yes"
    )
    backbone = backbones.from_config(config, image_size=224)
    assert backbone.output_shape == (None, 1024)
    assert backbone.get_layer("stem_conv").kernel_size == (3, 3)


def test_config_survives_its_flags():
    config = backbones.BackboneConfig(
        backbone="resnet34", image_std=(0.2, 0.3, 0.4), init_from="runs/a b"
    )
    kinds = options.kinds(backbones.BackboneConfig)
    words = {name: options.text(getattr(config, name)) for name in kinds}
    again = {name: options.parse(words[name], kinds[name]) for name in kinds}
    assert backbones.BackboneConfig(**again) == config


@pytest.mark.parametrize(
    "knobs, words",
    [
        ({"backbone": "resnet51"}, "resnet50"),
        ({"width": 0}, "width"),
        ({"small_image_stem": "maybe"}, "small_image_stem"),
        ({"image_mean": (0.5, 0.5)}, "three numbers"),
        ({"init_stages": 1}, "without init_from"),
        ({"backbone": "VGG16", "width": 2}, "width=2"),
    ],
)
def test_config_refuses_the_impossible(knobs, words):
    with pytest.raises(ValueError, match=words):
        backbones.BackboneConfig(**knobs)
