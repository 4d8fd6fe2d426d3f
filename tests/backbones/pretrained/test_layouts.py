"""Whose checkpoint it is, by its names; and what is refused."""

import functools

import numpy as np
import pytest

from tests.support import published
from tests.support.published import numbered, prefixed
from tfclust.backbones.pretrained import layouts

LINEAR = {"weight": np.ones([3, 4]), "bias": np.ones(3)}


@functools.cache
def plain():
    """A ResNet-18's arrays; tiny ones, since names alone are read here."""
    return {
        name: array[:1, :1] if array.ndim == 4 else array.reshape(-1)[:1]
        for name, array in published.resnet().items()
    }


def linear(prefix):
    return prefixed(prefix, LINEAR)


def moco():
    q, k = "state_dict.module.encoder_q.", "state_dict.module.encoder_k."
    return {
        **prefixed(q, plain()),
        **linear(f"{q}fc.0."),
        **linear(f"{q}fc.2."),
        **prefixed(k, plain()),
        **linear(f"{k}fc.0."),
        "state_dict.module.queue": np.ones([2, 2]),
        "state_dict.module.queue_ptr": np.ones(1),
    }


def dino():
    return {
        **prefixed("student.module.backbone.", plain()),
        **linear("student.module.head.mlp.0."),
        **prefixed("teacher.backbone.", plain()),
        **linear("teacher.head.mlp.0."),
        "teacher.head.last_layer.weight_g": np.ones([2, 1]),
    }


def vissl():
    model = "classy_state_dict.base_model.model."
    return {
        **prefixed(f"{model}trunk._feature_blocks.", plain()),
        **linear(f"{model}heads.0.clf.0."),
    }


def lightly():
    return {
        **prefixed("state_dict.backbone.", plain()),
        **linear("state_dict.projection_head.layers.0."),
        **prefixed("state_dict.key_backbone.", plain()),
        **linear("state_dict.key_projection_head.layers.0."),
        **linear("state_dict.online_classifier."),
    }


def solo_learn():
    return {
        **prefixed("state_dict.backbone.", plain()),
        **linear("state_dict.projector.0."),
        **linear("state_dict.classifier."),
        **prefixed("state_dict.momentum_backbone.", plain()),
        **linear("state_dict.momentum_projector.0."),
        "state_dict.queue": np.ones([2, 3]),
    }


def swav(prototypes=(11,)):
    head = published.swav_head(4, prototypes=prototypes)
    return prefixed("module.", plain() | head)


LAYOUTS = {
    "torchvision": (
        lambda: plain() | linear("fc."),
        "torchvision's ResNet",
    ),
    "SwAV": (swav, "SwAV's ResNet"),
    "DeepCluster-v2": (lambda: swav((5, 6, 7)), "SwAV's ResNet"),
    "MoCo": (moco, "MoCo's ResNet"),
    "DINO": (dino, "DINO's ResNet, the teacher"),
    "VISSL": (vissl, "VISSL's ResNet"),
    "lightly": (lightly, "lightly's ResNet"),
    "lightly, numbered": (
        lambda: prefixed("backbone.", numbered(plain())),
        "lightly's ResNet, its layers numbered",
    ),
    "lightly, shortcut": (
        lambda: {
            name.replace("downsample", "shortcut"): array
            for name, array in (plain() | linear("linear.")).items()
        },
        "torchvision's ResNet",
    ),
    "solo-learn": (solo_learn, "solo-learn's ResNet"),
    "solo-learn, old": (
        lambda: prefixed("encoder.", plain()) | linear("classifier."),
        "solo-learn's ResNet",
    ),
    "SeLa": (
        lambda: {
            **prefixed("state_dict.features.", numbered(plain())),
            **linear("state_dict.top_layer0."),
            **linear("state_dict.top_layer1."),
        },
        "SeLa's ResNet",
    ),
    "compiled": (lambda: prefixed("_orig_mod.", plain()), "torchvision's"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_wrappings_are_taken_off(name):
    make, title = LAYOUTS[name]
    layout = layouts.recognised(make())
    assert layout.title.startswith(title)
    wanted = {
        key: array
        for key, array in plain().items()
        if not key.endswith("num_batches_tracked")
    }
    assert layout.network.keys() == wanted.keys()
    for key, array in wanted.items():
        np.testing.assert_array_equal(layout.network[key], array)


def test_images_are_scaled_as_the_project_does():
    assert layouts.recognised(swav()).image_std == (0.228, 0.224, 0.225)
    assert layouts.recognised(moco()).image_std == (0.229, 0.224, 0.225)


def test_teacher_is_taken_and_not_the_student():
    arrays = dino()
    arrays["teacher.backbone.bn1.bias"] = np.float32([8])
    network = layouts.recognised(arrays).network
    np.testing.assert_array_equal(network["bn1.bias"], [8])


def test_online_network_is_taken_and_not_its_moving_average():
    arrays = solo_learn()
    arrays["state_dict.backbone.bn1.bias"] = np.float32([8])
    network = layouts.recognised(arrays).network
    np.testing.assert_array_equal(network["bn1.bias"], [8])


REFUSED = {
    "array of unknown purpose": (
        lambda: plain() | {"layers.9": np.ones(2), "what": np.ones(2)},
        "leaves 2 arrays over, whose purpose is unknown: layers.9, what",
    ),
    "two networks": (
        lambda: prefixed("left.", plain()) | prefixed("right.", plain()),
        "one network must be .* 2 networks, below left., right.",
    ),
    "one name twice": (
        lambda: plain() | {"module.conv1.weight": np.ones(2)},
        "1 arrays have the name of another one",
    ),
    "nothing": (dict, "has no tensors. Expected a ResNet"),
    "other network": (
        lambda: linear("a.") | linear("b."),
        r"none of its 4 arrays \(a.weight, a.bias, b.weight, ...\)",
    ),
    "vision transformer": (
        lambda: {"backbone.patch_embed.proj.weight": np.ones([2, 2])},
        "vision transformer",
    ),
    "pre-activations": (
        lambda: {
            "features.0.weight": np.ones([1, 1, 7, 7]),
            "features.2.0.bn1.weight": np.ones(1),
            "features.2.0.conv1.weight": np.ones([1, 1, 1, 1]),
        },
        r"SeLa's ResNet of pre-activations \(resnetv2\)",
    ),
    "ResNetGenerator taken apart": (
        lambda: {
            "backbone.0.weight": np.ones([1, 1, 3, 3]),
            "backbone.1.running_mean": np.ones(1),
            "backbone.2.0.bn1.weight": np.ones(1),
            "backbone.2.0.conv1.weight": np.ones([1, 1, 1, 1]),
        },
        "no ReLU behind its first layer",
    ),
    "solo-learn on CIFAR": (
        lambda: (
            solo_learn()
            | {"state_dict.backbone.conv1.weight": np.ones([4, 3, 3, 3])}
        ),
        "solo-learn's ResNet for CIFAR, whose first convolution pads two",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_is_refused_by_name(name):
    make, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        layouts.recognised(make())
