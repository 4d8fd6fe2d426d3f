"""The fixed Sobel front against a loop; it is saved, and never trained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.processes import run_in_subprocess
from tfclust import backbones
from tfclust.backbones import adapting, front, graph
from tfclust.saved_model import serving

OWN = {
    "small": 32,
    "resnet18": 32,
    "resnet50": 32,
    "alexnet": 63,
    "vgg16_bn": 32,
}
ACROSS = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
DOWN = [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]


@pytest.fixture
def images():
    return np.random.default_rng(0).random((2, 9, 7, 3), np.float32)


def edges_of(backbone):
    """The model from images to what the first convolution sees."""
    for step in graph.steps(backbone):
        if step.output.shape[-1] == 2:
            return keras.Model(backbone.input, step.output)
    raise AssertionError("no edges")


def first_kernel(backbone):
    """The weights of the first convolution."""
    return next(x.kernel for x in backbone.layers if hasattr(x, "kernel"))


def edges_loop(images):
    """Grey, then both filters with a border of zeros, by loops."""
    normalised = (images - np.array(front.IMAGE_MEAN)) / front.IMAGE_STD
    grey = normalised.mean(axis=-1)
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)))
    edges = np.zeros([*grey.shape, 2])
    for image in range(grey.shape[0]):
        for row in range(grey.shape[1]):
            for column in range(grey.shape[2]):
                patch = padded[image, row : row + 3, column : column + 3]
                for channel, kernel in enumerate((ACROSS, DOWN)):
                    edges[image, row, column, channel] = (patch * kernel).sum()
    return edges


def test_edges_match_a_numpy_loop(images):
    edges = edges_of(backbones.build("small", sobel=True))(images)
    # Sums of a dozen float32 of size 3.
    np.testing.assert_allclose(edges, edges_loop(images), atol=1e-5)


def test_a_bright_right_half_is_an_edge_of_the_first_channel():
    image = np.zeros([1, 5, 6, 3], np.float32)
    image[:, :, 3:] = 1
    edges = edges_of(backbones.build("small", sobel=True))(image)[0, 2]
    step = np.mean(1 / np.array(front.IMAGE_STD))
    # Left minus right, 1 + 2 + 1 of it; nothing from top to bottom.
    np.testing.assert_allclose(
        edges[1:5, 0], [0, -4 * step, -4 * step, 0], 1e-5, 1e-5
    )
    np.testing.assert_allclose(edges[1:5, 1], 0, atol=1e-5)


@pytest.mark.parametrize("name", OWN)
def test_the_first_convolution_has_two_input_channels(name):
    backbone = backbones.build(name, image_size=OWN[name], sobel=True)
    plain = backbones.build(name, image_size=OWN[name])
    kernel, whole = (first_kernel(net) for net in (backbone, plain))
    rows, columns, _, channels = whole.shape
    assert kernel.shape == (rows, columns, 2, channels)
    assert len(backbone.weights) == len(plain.weights)
    less = rows * columns * channels
    assert plain.count_params() - backbone.count_params() == less
    assert adapting.expected_input(backbone) == "none"
    assert backbones.adapt(backbone) is backbone


def test_nothing_that_trains_or_thaws_reaches_the_edges(images):
    backbone = backbones.build("small", sobel=True)
    edges = edges_of(backbone)
    before = edges(images).numpy()
    backbone.trainable = False
    backbone.trainable = True
    assert edges.weights == []
    optimizer = keras.optimizers.SGD(1.0)
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(backbone(images, training=True) ** 2)
        variables = backbone.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
    np.testing.assert_array_equal(edges(images), before)


def test_gradients_reach_the_images(images):
    edges = edges_of(backbones.build("small", sobel=True))
    inputs = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(edges(inputs) ** 2)
    assert np.abs(tape.gradient(loss, inputs)).max() > 0


def test_edges_are_float32_under_mixed_precision(images):
    expected = edges_of(backbones.build("small", sobel=True))(images)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        edges = edges_of(backbones.build("small", sobel=True))
        np.testing.assert_array_equal(edges(images), expected)
        assert edges(images).dtype == "float32"
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_the_compiled_network_equals_the_uncompiled(images):
    backbone = backbones.build("small", sobel=True)
    compiled = tf.function(backbone, jit_compile=True)
    np.testing.assert_allclose(
        compiled(images), backbone(images), rtol=1e-4, atol=1e-5
    )


LOAD_ALONE = """
import sys, keras, numpy as np
images = np.load("{folder}/images.npy")
for name in ("saved", "served"):
    model = keras.models.load_model("{folder}/" + name + ".keras")
    np.save("{folder}/" + name + ".npy", model(images))
assert not any(name.startswith("tfclust") for name in sys.modules)
"""


def test_a_saved_backbone_brings_its_edges_along(images, tmp_path):
    backbone = backbones.build("small", sobel=True)
    np.save(tmp_path / "images.npy", images)
    backbone.save(tmp_path / "saved.keras")
    serving.single_device_copy(backbone).save(tmp_path / "served.keras")
    run_in_subprocess(LOAD_ALONE.format(folder=tmp_path))
    for name in ("saved", "served"):
        np.testing.assert_allclose(
            np.load(tmp_path / f"{name}.npy"),
            backbone(images),
            rtol=1e-5,
            atol=1e-6,
        )
    again = backbones.build("small", sobel=True)
    backbones.load_weights(again, tmp_path / "saved.keras")
    np.testing.assert_array_equal(again(images), backbone(images))
    colours = backbones.build("small")
    with pytest.raises(ValueError, match="stem_conv/kernel"):
        backbones.load_weights(colours, tmp_path / "saved.keras")


def test_levels_and_stages_do_not_mind_the_edges():
    backbone = backbones.build("resnet18", image_size=224, sobel=True)
    assert list(backbones.pyramid(backbone)) == ["P2", "P3", "P4", "P5"]
    assert [len(s) for s in backbones.stages(backbone)] == [5, 20, 25, 25, 25]


def test_config_and_refusal():
    config = backbones.BackboneConfig(backbone="small", sobel=True)
    backbone = backbones.from_config(config, image_size=32)
    assert backbone.get_layer("stem_conv").kernel.shape[2] == 2
    with pytest.raises(ValueError, match="sobel=True"):
        backbones.BackboneConfig(backbone="MobileNetV2", sobel=True)
