"""Layers: which maps, how they are pooled, and their figures."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.evaluation.test_probes import coloured_source
from tfclust import backbones, evaluation
from tfclust.evaluation import EvaluationConfig
from tfclust.evaluation.probes import pooled_maps


def test_maps_of_alexnet_are_the_five_convolutions_after_their_relu():
    model = backbones.build("alexnet", image_size=224)
    shapes = {
        name: tuple(of.shape[1:])
        for name, of in backbones.layer_maps(model).items()
    }
    assert shapes == {
        "conv1": (55, 55, 96),
        "conv2": (27, 27, 256),
        "conv3": (13, 13, 384),
        "conv4": (13, 13, 384),
        "conv5": (13, 13, 256),
    }
    for of in backbones.layer_maps(model).values():
        assert isinstance(of._keras_history.operation, keras.layers.ReLU)


def test_maps_of_resnets_are_the_stem_and_the_stages():
    small = backbones.layer_maps(backbones.build("small"))
    assert list(small) == ["stem", "stage1", "stage2", "stage3"]
    of_resnet = backbones.layer_maps(backbones.build("resnet18"))
    assert list(of_resnet) == ["stem", *(f"stage{i}" for i in range(1, 5))]
    assert [of.shape[-1] for of in of_resnet.values()] == [
        64, 64, 128, 256, 512,
    ]  # fmt: skip


def test_other_networks_have_their_pyramid_and_any_layer_by_name():
    model = backbones.adapt(
        keras.Sequential(
            [
                keras.Input([None, None, 3]),
                keras.layers.Conv2D(4, 4, strides=4, name="patches"),
                keras.layers.Conv2D(8, 2, strides=2, name="deeper"),
            ]
        )
    )
    assert list(backbones.layer_maps(model)) == ["P2", "P3"]
    last = backbones.map_named(model, "last")
    assert last is backbones.layer_maps(model)["P3"]
    assert backbones.map_named(model, "patches").shape[-1] == 4
    with pytest.raises(ValueError, match="Received: conv9.*P2, P3"):
        backbones.map_named(model, "conv9")


@pytest.mark.parametrize(
    ("side", "channels", "values"),
    [
        (55, 96, 9600),  # DeepCluster's conv1 to conv5
        (27, 256, 9216),
        (13, 384, 9600),
        (13, 256, 9216),
        (112, 64, 9216),  # OpenSelfSup's stages
        (56, 256, 9216),
        (28, 512, 8192),
        (14, 1024, 9216),
        (7, 2048, 8192),  # and SwAV's windows of 6 x 6
        (32, 32, 17 * 17 * 32),
        (4, 128, 4 * 4 * 128),  # a small map is left whole
        (2, 20000, 20000),
    ],
)
def test_pooled_maps_have_the_papers_sizes(side, channels, values):
    for kind in ("mean", "max"):
        found = pooled_maps.pooled(tf.zeros([1, side, side, channels]), kind)
        assert int(np.prod(found.shape)) == values


def test_published_windows_are_pytorchs():
    maps = np.random.default_rng(0).random([2, 13, 13, 384], np.float32)
    padded = np.pad(maps, [(0, 0), (1, 1), (1, 1), (0, 0)])
    parts = padded.reshape(2, 5, 3, 5, 3, 384)
    for kind in ("mean", "max"):
        expected = getattr(parts, kind)(axis=(2, 4))
        found = pooled_maps.pooled(tf.constant(maps), kind)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_parts_cover_the_map(kind):
    maps = np.random.default_rng(0).random([2, 7, 7, 3], np.float32)
    found = pooled_maps.in_parts(tf.constant(maps), 3, kind)
    # 7 / 3: rows 0-2, 2-4, 4-6.
    for i in range(3):
        for j in range(3):
            part = maps[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            np.testing.assert_allclose(
                found[:, i, j], getattr(part, kind)(axis=(1, 2)), atol=1e-6
            )


@pytest.fixture(scope="module")
def figures():
    """Of a network whose second stage knows colours, and of pixels."""
    images = keras.Input([8, 8, 3])
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem_conv")(images)
    x = keras.layers.ReLU(name="stem_relu")(x)
    x = keras.layers.AveragePooling2D(2, name="stage1_pool")(x)
    x = keras.layers.ReLU(name="stage1_out")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.utils.set_random_seed(0)
    network = evaluation.keras_network(keras.Model(images, x))
    return evaluation.evaluate(
        {"trained": network, "pixels": evaluation.pixels},
        coloured_source(60),
        coloured_source(30, seed=1),
        EvaluationConfig(
            protocols=("layers",),
            linear_epochs=4,
            linear_crops="centre",
            linear_batch_norm="plain",
            linear_batch_size=10,
        ),
        image_size=8,
    )


def test_every_layer_has_its_figures_and_pixels_have_none(figures):
    found = figures["trained"]["layers"]
    assert found["layers"] == ["conv1", "conv2"]
    assert found["conv1_top1"] > 0.9
    low, high = found["conv1_top1_interval"]
    assert low <= found["conv1_top1"] <= high
    assert found["conv1_best_epoch_top1"] >= found["conv1_top1"]
    assert "conv1_top5" not in found  # of three classes
    assert figures["pixels"]["layers"] == {"layers": []}
    table = evaluation.format_table(figures).splitlines()
    assert table[2].startswith("linear probe of conv1, top-1 %")
    assert table[2].split()[-2:] == ["-", "33.3"]
    assert table[4].startswith(
        "linear probe of conv1, top-1 of the best epoch by test images %"
    )


def test_layer_that_is_not_there_is_refused_before_any_pass():
    images = keras.Input([8, 8, 3])
    x = keras.layers.Conv2D(4, 3, name="one")(images)
    x = keras.layers.GlobalAveragePooling2D()(x)
    network = evaluation.keras_network(keras.Model(images, x))
    config = EvaluationConfig(protocols=("layers",), probe_layers=("two",))
    with pytest.raises(ValueError, match="Received: two for backbone"):
        evaluation.evaluate(
            {"trained": network},
            coloured_source(60),
            coloured_source(30, seed=1),
            config,
            image_size=8,
        )


def test_network_that_has_diverged_is_refused():
    images = keras.Input([8, 8, 3])
    x = keras.layers.Conv2D(4, 3, activation="relu", name="one")(images)
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))
    kernel, bias = model.get_weights()
    model.set_weights([kernel, np.full_like(bias, np.nan)])
    with pytest.raises(ValueError, match="NaN or infinity in one/bias"):
        evaluation.keras_network(model)


def test_function_of_images_is_refused_before_any_pass():
    def never_called(images):
        raise AssertionError("a forward pass before the checks")

    with pytest.raises(ValueError, match="keras_network"):
        evaluation.evaluate(
            {"trained": never_called},
            coloured_source(60),
            coloured_source(30, seed=1),
            EvaluationConfig(protocols=("layers",)),
            image_size=8,
        )
