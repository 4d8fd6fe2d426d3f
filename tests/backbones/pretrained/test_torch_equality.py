"""Published weights give the features of the published network in PyTorch.

Without PyTorch, `test_layouts` compares with values that it gave.
"""

import numpy as np
import pytest

pytest.importorskip("torch")

from tests.support import published, torch_networks
from tests.support.marks import slow
from tfclust import backbones

SWAV_STD = (0.228, 0.224, 0.225)
USUAL_STD = (0.229, 0.224, 0.225)


def images(size):
    rng = np.random.default_rng(5)
    return rng.random((2, size, size, 3), np.float32)


def assert_close(received, wanted):
    """Within 1e-5 of the largest value."""
    difference = np.abs(received - wanted).max()
    assert difference <= 1e-5 * np.abs(wanted).max(), difference


@pytest.mark.parametrize(
    ("name", "width", "stem"),
    [
        ("resnet18", 1, 7),
        ("resnet18", 1, 3),
        ("resnet18", 2, 7),
        slow("resnet34", 1, 7),
        ("resnet50", 1, 7),
    ],
)
def test_features_of_a_resnet(name, width, stem, tmp_path):
    arrays = published.resnet(name, width=width, stem=stem)
    path = published.write_safetensors(tmp_path / "a.safetensors", arrays)
    backbone = backbones.build(name, width=width, small_images=stem == 3)
    backbones.load_weights(backbone, path)
    network = torch_networks.ResNet(name, width=width, stem=stem)
    wanted = torch_networks.outputs(network, arrays, images(64), USUAL_STD)
    assert_close(backbone(images(64)).numpy(), wanted)


def test_features_projections_and_scores_of_swav(tmp_path):
    arrays = published.resnet() | published.swav_head(512)
    path = published.write_safetensors(tmp_path / "a.safetensors", arrays)
    backbone = backbones.build("resnet18")
    head = backbones.load_weights(backbone, path).head
    network = torch_networks.ResNet("resnet18", head=(24, 8, 11))
    wanted = torch_networks.outputs(network, arrays, images(64), SWAV_STD)
    features = backbone(images(64)).numpy()
    assert_close(features, wanted)
    from tfclust.layers.projectors import projector

    project = projector(512, hidden_width=24, projection_width=8)
    project.set_weights(head.weights)
    units = project(features).numpy()
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    import torch

    with torch.no_grad():
        wanted_units, scores = network.scores(torch.as_tensor(wanted))
    assert_close(units, wanted_units.numpy())
    assert_close(units @ head.prototypes[0], scores.numpy())


@pytest.mark.parametrize(
    ("name", "size", "places", "sobel"),
    [
        ("alexnet", 127, 9, True),
        ("alexnet", 127, 9, False),
        ("vgg16_bn", 64, 4, True),
        slow("alexnet", 224, 36, True),
        slow("vgg16_bn", 224, 49, True),
    ],
)
def test_features_of_a_plain_network(name, size, places, sobel, tmp_path):
    make = published.alexnet if name == "alexnet" else published.vgg16
    arrays = make(places=places, sobel=sobel)
    path = published.write_safetensors(tmp_path / "a.safetensors", arrays)
    backbone = backbones.build(
        name, image_size=size, sobel=sobel, image_std=USUAL_STD
    )
    backbones.load_weights(backbone, path)
    network = torch_networks.Plain(name, places=places, sobel=sobel)
    wanted = torch_networks.outputs(network, arrays, images(size), USUAL_STD)
    assert_close(backbone(images(size), training=False).numpy(), wanted)
