"""Published files behind `load_weights`, without PyTorch.

The features are those that `tests/support/torch_networks.py` gave in PyTorch
2.13 for the same arrays; `test_torch_equality` asks it anew where it is.
"""

import functools

import numpy as np
import pytest

from tests.support import published
from tfclust import backbones

# The first four features of the second image, and the sum of all absolutely.
SMALL_STEM = [11.37531, 16.2773, 13.39487, 1.836278], 36337.79
WIDE = [2.602406, 61.26806, 0.0, 17.94048], 75676.28
SWAV = [6176.579, 6820.714, 1195.31, 7504.823], 23338770.0
UNITS = [0.304901, -0.4733685, -0.3597461, 0.2209216]
SCORES = [-0.3448432, -0.3004565, 0.2758411, -0.1951761]
ALEXNET = [-0.2815666, 5.268797, -18.5973, -9.72948], 124322.7
VGG16 = [37.92285, 42.39954, -61.8765, 29.5281], 202700.5
USUAL_STD = (0.229, 0.224, 0.225)


def images(size=64):
    rng = np.random.default_rng(5)
    return rng.random((2, size, size, 3), np.float32)


def assert_features(backbone, expected, size=64):
    """Within 1e-5 of the largest feature."""
    found = backbone(images(size), training=False).numpy()
    first, total = expected
    scale = np.abs(found).max()
    np.testing.assert_allclose(found[1, :4], first, rtol=0, atol=1e-5 * scale)
    np.testing.assert_allclose(np.abs(found).sum(), total, rtol=1e-5)


@functools.cache
def resnet18():
    return published.resnet()


@pytest.fixture(scope="module")
def backbone():
    return backbones.build("resnet18")


def write(folder, arrays):
    return published.write_safetensors(folder / "a.safetensors", arrays)


def test_swav_gives_pytorchs_features_projections_and_scores(tmp_path):
    arrays = published.resnet("resnet50") | published.swav_head(2048)
    path = write(tmp_path, published.prefixed("module.", arrays))
    swav = backbones.build("resnet50")
    loaded = backbones.load_weights(swav, path)
    assert_features(swav, SWAV)
    assert loaded.told == (
        "Weights of a.safetensors: SwAV's ResNet (or DeepCluster-v2's, "
        "SeLa-v2's), 265 arrays with a projector and 11 prototypes; not for "
        "the backbone: projection_head (8), prototypes (1)."
    )
    hidden, bias, *norm, last, last_bias = loaded.head.weights
    gamma, beta, mean, variance = norm
    x = swav(images()).numpy() @ hidden + bias
    x = (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    units = np.maximum(x, 0) @ last + last_bias
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    np.testing.assert_allclose(units[1, :4], UNITS, atol=1e-5)
    scores = units @ loaded.head.prototypes[0]
    np.testing.assert_allclose(scores[1, :4], SCORES, atol=1e-5)


@pytest.mark.slow
def test_stem_for_small_images_and_another_width(tmp_path):
    small = backbones.build("resnet18", small_images=True)
    backbones.load_weights(small, write(tmp_path, published.resnet(stem=3)))
    assert_features(small, SMALL_STEM)
    wide = backbones.build("resnet18", width=2)
    backbones.load_weights(wide, write(tmp_path, published.resnet(width=2)))
    assert_features(wide, WIDE)


@pytest.mark.parametrize("std", [USUAL_STD, (0.3, 0.2, 0.25)])
def test_scale_of_the_images_is_converted(std, backbone, tmp_path):
    other = backbones.build("resnet18", image_std=std)
    for one in (backbone, other):
        backbones.load_weights(one, write(tmp_path, resnet18()))
    one, two = backbone(images()).numpy(), other(images()).numpy()
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-5 * one.max())


def test_another_mean_cannot_be_converted(tmp_path):
    other = backbones.build("resnet18", image_mean=(0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="--image_mean=0.485,0.456,0.406"):
        backbones.load_weights(other, write(tmp_path, resnet18()))


@pytest.mark.slow
def test_alexnet_of_edges_gives_pytorchs_features(tmp_path):
    arrays = published.alexnet(places=9) | {"top_layer.weight": np.ones([2, 2])}
    arrays = {  # as data parallelism within the network names them
        name.replace("features.", "features.module."): array
        for name, array in arrays.items()
    }
    alexnet = backbones.build(
        "alexnet", image_size=127, sobel=True, image_std=USUAL_STD
    )
    path = write(tmp_path, published.prefixed("state_dict.", arrays))
    loaded = backbones.load_weights(alexnet, path)
    assert "DeepCluster's network, of edges" in loaded.told
    assert_features(alexnet, ALEXNET, 127)
    colours = backbones.build("alexnet", image_size=127)
    with pytest.raises(ValueError, match="sees edges.*Give --sobel=true"):
        backbones.load_weights(colours, path)
    unusual = backbones.build("alexnet", image_size=127, sobel=True)
    with pytest.raises(ValueError, match="--image_std=0.229,0.224,0.225"):
        backbones.load_weights(unusual, path)
    arrays["sobel.1.weight"] = arrays["sobel.1.weight"] * 2
    with pytest.raises(ValueError, match="sobel.1.weight must be DeepCluster"):
        backbones.load_weights(alexnet, write(tmp_path, arrays))


def test_vgg16_of_edges_gives_pytorchs_features(tmp_path):
    vgg = backbones.build(
        "vgg16_bn", image_size=64, sobel=True, image_std=USUAL_STD
    )
    backbones.load_weights(vgg, write(tmp_path, published.vgg16(places=4)))
    assert_features(vgg, VGG16, 64)


def test_first_stages_alone_can_be_taken(tmp_path):
    target = backbones.build("resnet18")
    before = target.get_weights()
    path = write(tmp_path, resnet18())
    loaded = backbones.load_weights(target, path, stages=1)
    assert 0 < loaded.num_loaded < loaded.num_weights == 100
    last = backbones.stages(target)[-1]
    numbers = [id(v) for v in target.weights]
    for variable in last:
        kept = before[numbers.index(id(variable))]
        np.testing.assert_array_equal(variable.numpy(), kept)


def test_a_config_says_what_it_starts_from(tmp_path):
    config = backbones.BackboneConfig(
        backbone="resnet18", init_from=str(write(tmp_path, resnet18()))
    )
    told = []
    backbones.from_config(config, image_size=96, say=told.append)
    assert told == [
        "Weights of a.safetensors: torchvision's ResNet (or a plain one in its "
        "names), 100 arrays."
    ]


MISFITS = {
    "another network": (
        lambda: published.resnet("resnet34"),
        "Received: backbone=resnet18. Give --backbone=resnet34",
    ),
    "another width and stem": (
        lambda: published.resnet(width=2, stem=3),
        "Received: width=1, small_image_stem=no. Give --width=2 "
        "--small_image_stem=yes",
    ),
    "a missing array": (
        lambda: {k: v for k, v in resnet18().items() if k != "bn1.bias"},
        "of its 100 arrays 1 are missing: bn1.bias",
    ),
    "a block too many": (
        lambda: {
            **resnet18(),
            **{f"layer4.2.conv{i}.weight": np.ones([1, 1]) for i in range(4)},
        },
        r"4 are left over: layer4.2.conv0.weight, .*, \.\.\.",
    ),
    "another shape": (
        lambda: resnet18() | {"bn1.bias": np.ones(65, np.float32)},
        r"1 of 100 weights differ: stem_conv_bn/beta \(64,\) \(found "
        r"bn1.bias \(65,\)\)",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_told_and_nothing_overwritten(
    name, backbone, tmp_path
):
    make, words = MISFITS[name]
    before = backbone.get_weights()
    with pytest.raises(ValueError, match=words) as caught:
        backbones.load_weights(backbone, write(tmp_path, make()))
    assert "a.safetensors" in str(caught.value)
    for array, own in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(array, own)


def test_network_of_another_kind_is_refused(tmp_path):
    small = backbones.build("small")
    with pytest.raises(ValueError, match="published weights fit the backbones"):
        backbones.load_weights(small, write(tmp_path, resnet18()))
