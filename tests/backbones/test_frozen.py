"""Frozen stages of a backbone, and the pass that stops at them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.support.marks import slow
from tfclust import backbones
from tfclust.backbones.config import frozen_at_random

SIZE = 64


def small():
    keras.utils.set_random_seed(0)
    return backbones.build("small", image_size=SIZE)


def images():
    rng = np.random.default_rng(0)
    return tf.constant(rng.random((2, SIZE, SIZE, 3), np.float32))


@pytest.mark.parametrize(
    "name, count",
    [
        ("small", 4),
        ("alexnet", 7),
        slow("resnet18", 5),
        slow("resnet50", 5),
        slow("vgg16_bn", 7),
        slow("MobileNetV2", 5),
        slow("EfficientNetV2B0", 5),
        slow("ConvNeXtTiny", 5),
        slow("DenseNet121", 5),
    ],
)
def test_each_number_freezes_its_stages_and_changes_no_feature(name, count):
    backbone = backbones.build(name, image_size=SIZE)
    order = [variable.path for variable in backbone.weights]
    stages = backbones.stages(backbone)
    assert len(stages) == count
    features = backbone(images(), training=False)
    for number in range(count + 1):
        backbones.freeze(backbone, number)
        trained = {id(v) for v in backbone.trainable_variables}
        frozen = {id(v) for stage in stages[:number] for v in stage}
        assert not trained & frozen
        assert trained | frozen >= {
            id(v) for stage in stages for v in stage if v.trainable
        }
        again = backbones.passes(backbone)(images(), training=False)
        np.testing.assert_array_equal(again, features)
    assert not backbone.trainable_variables
    # Files and checkpoints fill weights by their position.
    assert order == [variable.path for variable in backbone.weights]


@pytest.mark.parametrize("number", [0, 1, 3, 4])
def test_no_gradient_is_computed_below_what_is_trained(number):
    backbone = small()
    backbones.freeze(backbone, number)
    run, pixels = backbones.passes(backbone), images()
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        features = run(pixels, training=True)
    assert (tape.gradient(features, pixels) is None) == (number > 0)


@pytest.mark.parametrize("number", [-1, 5])
def test_stages_that_a_network_lacks_are_refused_with_those_it_has(number):
    with pytest.raises(
        ValueError,
        match="between 0 and 4 for backbone small: its stem and the 3 stages "
        f"after it. Received: frozen_stages={number}",
    ):
        backbones.freeze(small(), number)


def network(*, dropout=0.0):
    """Two convolutions with batch norm, in stages of their own."""
    x = inputs = keras.Input([None, None, 3])
    for name in ("stem", "stage1"):
        x = layers.Conv2D(4, 3, strides=2, name=f"{name}_conv")(x)
        x = layers.BatchNormalization(momentum=0.5, name=f"{name}_bn")(x)
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, x, name="two_stages")


def test_frozen_dropout_drops_nothing():
    backbone = network(dropout=0.5)
    backbones.freeze(backbone, 2)
    run = backbones.passes(backbone)
    expected = backbone(images(), training=False)
    np.testing.assert_array_equal(run(images(), training=True), expected)


def test_frozen_statistics_are_used_and_kept():
    backbone = network()
    backbones.freeze(backbone, 1)
    run = backbones.passes(backbone)
    before = backbone.get_layer("stem_bn").get_weights()
    later = backbone.get_layer("stage1_bn").get_weights()
    run(images(), training=True)
    after = backbone.get_layer("stem_bn").get_weights()
    np.testing.assert_array_equal(before, after)
    assert np.any(later[2] != backbone.get_layer("stage1_bn").get_weights()[2])


def test_layers_frozen_behind_a_trained_one_pass_gradients_on():
    backbone = network()
    for name in ("stage1_conv", "stage1_bn"):
        backbone.get_layer(name).trainable = False
    run = backbones.passes(backbone)
    with tf.GradientTape() as tape:
        features = run(images(), training=True)
    kernel = backbone.get_layer("stem_conv").kernel
    assert np.any(tape.gradient(features, kernel.value) != 0)


@pytest.mark.parametrize(
    "knobs, words",
    [
        ({"frozen_stages": 0}, None),
        ({"frozen_stages": 2}, "2 of the 2 frozen stages"),
        ({"frozen_stages": 2, "init_from": "x"}, None),
        ({"frozen_stages": 3, "init_from": "x", "init_stages": 1}, "1 of the "),
        ({"frozen_stages": 2, "init_from": "x", "init_stages": 3}, None),
    ],
)
def test_stages_frozen_at_random_are_told(knobs, words):
    told = frozen_at_random(backbones.BackboneConfig(**knobs))
    if words is None:
        assert told is None
    else:
        assert words in told


def test_a_config_freezes_what_it_loads(tmp_path):
    source = small()
    for variable in source.weights:
        variable.assign(np.full(variable.shape, 0.5))
    source.save(tmp_path / "backbone.keras")
    config = backbones.BackboneConfig(
        backbone="small",
        init_from=str(tmp_path / "backbone.keras"),
        frozen_stages=4,
    )
    backbone = backbones.from_config(config, image_size=SIZE)
    assert not backbone.trainable_variables
    assert all(np.all(values == 0.5) for values in backbone.get_weights())
