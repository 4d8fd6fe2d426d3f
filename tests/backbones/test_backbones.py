"""The library's own backbones: sizes, numbers, precision, saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.marks import slow
from tests.support.processes import run_in_subprocess
from tfclust import backbones
from tfclust.backbones import resnet
from tfclust.backbones.fused import fuse

# Weights of torchvision's networks with their 1000-way classifier.
PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
}


def num_trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def conv_norm_weights(channels_in, channels_out, size):
    return size * size * channels_in * channels_out + 2 * channels_out


def resnet50_weights(width):
    """Counted from the paper's table 1, with every channel times `width`."""
    channels = 64 * width
    total, before = conv_norm_weights(3, channels, 7), channels
    for depth in (3, 4, 6, 3):
        for block in range(depth):
            total += conv_norm_weights(before, channels, 1)
            total += conv_norm_weights(channels, channels, 3)
            total += conv_norm_weights(channels, 4 * channels, 1)
            if block == 0:
                total += conv_norm_weights(before, 4 * channels, 1)
            before = 4 * channels
        channels *= 2
    return total


@pytest.mark.parametrize("name", PUBLISHED)
def test_resnets_have_the_published_number_of_weights(name):
    backbone = backbones.build(name)
    width = backbone.output_shape[-1]
    classifier = width * 1000 + 1000
    assert num_trainable(backbone) + classifier == PUBLISHED[name]


@pytest.mark.parametrize(
    "width, millions", [(1, 24), (2, 94), (4, 375), (5, 586)]
)
def test_wide_resnets_have_the_published_millions_of_weights(width, millions):
    # SimCLR, table 6 (x1, x2, x4) and SwAV, figure 3 (x5), no classifier.
    assert round(resnet50_weights(width) / 1e6) == millions


@pytest.mark.parametrize("width", [slow(1), 2])
def test_width_multiplies_every_convolution(width):
    backbone = backbones.build("resnet50", width=width)
    assert num_trainable(backbone) == resnet50_weights(width)
    assert backbone.output_shape == (None, 2048 * width)


def test_small_has_310_thousand_parameters(small):
    assert num_trainable(small) == 308_448
    assert small.count_params() == 309_856  # with the running statistics


def test_the_3x3_convolution_of_a_bottleneck_carries_the_stride():
    backbone = backbones.build("resnet50")
    block = "stage2_block1_conv"
    assert backbone.get_layer(f"{block}1").strides == (1, 1)
    assert backbone.get_layer(f"{block}2").strides == (2, 2)


def test_images_up_to_64_pixels_get_the_small_stem():
    def stem(**settings):
        layer = backbones.build("resnet18", **settings).get_layer("stem_conv")
        return layer.kernel_size

    assert stem(image_size=64) == (3, 3)
    assert stem(image_size=65) == (7, 7)
    assert stem(image_size=224, small_images=True) == (3, 3)
    assert stem(image_size=32, small_images=False) == (7, 7)


def test_strided_convolutions_pad_evenly():
    x = np.random.default_rng(1).normal(size=(1, 6, 6, 2)).astype("float32")
    inputs = keras.Input([6, 6, 2])
    model = keras.Model(
        inputs,
        resnet.ConvNorm()(inputs, 3, 3, strides=2, relu=False, name="c"),
    )
    kernel = model.get_layer("c").kernel.numpy()
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros([1, 3, 3, 3])
    for row in range(3):
        for column in range(3):
            patch = padded[0, 2 * row : 2 * row + 3, 2 * column :][:, :3]
            expected[0, row, column] = np.einsum("hwc,hwco->o", patch, kernel)
    expected /= np.sqrt(1 + 1e-5)  # batch norm before its first step
    np.testing.assert_allclose(model(x), expected, atol=1e-5)


def test_mean_and_deviation_are_inside():
    backbone = backbones.build("small")
    inside = keras.Model(
        backbone.input, backbone.get_layer("normalized").output
    )
    image = np.full([1, 1, 1, 3], 0.5, np.float32)
    expected = (0.5 - np.array([0.485, 0.456, 0.406])) / [0.228, 0.224, 0.225]
    np.testing.assert_allclose(inside(image)[0, 0, 0], expected, rtol=1e-5)


def test_mean_and_deviation_can_be_set(images):
    shifted = backbones.build("small", image_mean=(0, 0, 0), image_std=(2,) * 3)
    plain = backbones.build("small", image_mean=(0, 0, 0), image_std=(1,) * 3)
    shifted.set_weights(plain.get_weights())
    np.testing.assert_allclose(
        shifted(images), plain(images / 2), rtol=1e-4, atol=1e-5
    )


def test_convolutions_start_he_normal_over_the_fan_out():
    keras.utils.set_random_seed(0)
    kernel = backbones.build("resnet18").get_layer("stage4_block2_conv2").kernel
    # 2.4 million draws: the deviation is known to a thousandth.
    expected = np.sqrt(2 / (3 * 3 * 512))
    assert np.std(kernel) == pytest.approx(expected, rel=5e-3)
    # Not cut off at two deviations, as Keras's he_normal would be.
    assert np.max(np.abs(kernel)) > 4 * expected


def test_zero_init_residual_starts_each_block_as_the_identity():
    backbone = backbones.build("resnet18", zero_init_residual=True)
    default = backbones.build("resnet18")
    for stage in (1, 2, 3, 4):
        name = f"stage{stage}_block2_conv2_bn"
        assert not np.any(backbone.get_layer(name).gamma)
        assert np.all(default.get_layer(name).gamma == 1)
    # Behind a ReLU a block of this start gives back its input.
    before = backbone.get_layer("stage1_block1_out").output
    after = backbone.get_layer("stage1_block2_out").output
    image = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    outputs = keras.Model(backbone.input, [before, after])(image)
    np.testing.assert_array_equal(*outputs)


def test_any_image_size_is_taken(small):
    for height, width in ((24, 24), (32, 48), (7, 9)):
        features = small(np.zeros([2, height, width, 3], np.float32))
        assert features.shape == (2, 128)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_features_are_float32_under_mixed_precision(policy, precision, images):
    reference = backbones.build("small")
    precision(policy)
    backbone = backbones.build("small")
    backbone.set_weights(reference.get_weights())
    for training in (False, True):
        features = backbone(images, training=training)
        assert features.dtype == tf.float32
        # bfloat16 keeps 8 bits, and a dozen roundings follow one another.
        np.testing.assert_allclose(
            features, reference(images, training=training), rtol=0.1, atol=0.05
        )


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_compiled_step_equals_the_uncompiled(policy, precision, images):
    precision(policy)
    keras.utils.set_random_seed(0)
    backbone = backbones.build("small")
    start = backbone.get_weights()

    def step():
        with tf.GradientTape() as tape:
            features = backbone(images, training=True)
            loss = tf.reduce_mean(tf.square(features))
        gradients = tape.gradient(loss, backbone.trainable_variables)
        return features, gradients

    results = []
    for jit in (False, True):
        backbone.set_weights(start)
        features, gradients = tf.function(step, jit_compile=jit)()
        results.append((features, gradients, _state(backbone)))
    # Sums run in another order; in bfloat16 each rounds to 8 bits, unless XLA
    # keeps what it has fused in float32.
    limit = {"float32": 1e-4, "mixed_bfloat16": 0.3}[policy]
    for plain, compiled in zip(*results, strict=True):
        plain, compiled = _flat(plain), _flat(compiled)
        error = np.linalg.norm(compiled - plain) / np.linalg.norm(plain)
        assert error < limit


def _flat(arrays):
    return np.concatenate([np.ravel(a) for a in keras.tree.flatten(arrays)])


def _state(model):
    return [v.numpy() for v in model.non_trainable_variables]


@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3, st.integers(1, 9)),
    scale=st.floats(1e-2, 1e2),
    mean=st.floats(-3, 3),
    seed=st.integers(0, 2**16),
)
def test_fused_batch_norm_equals_kerass(shape, scale, mean, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(mean, scale, size=shape).astype("float32")
    weights = rng.normal(size=shape).astype("float32")
    results = []
    for make in (fuse, lambda layer: layer):
        layer = make(keras.layers.BatchNormalization(momentum=0.9))
        layer.build(shape)
        layer.gamma.assign(np.linspace(0.5, 1.5, shape[-1]))
        inputs = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(outputs * weights)
        variables = [inputs, layer.gamma.value, layer.beta.value]
        gradients = tape.gradient(loss, variables)
        results.append([outputs, gradients, *_state(layer)])
    for fused, plain in zip(
        keras.tree.flatten(results[0]),
        keras.tree.flatten(results[1]),
        strict=True,
    ):
        # float32 variances of up to 1e4 differ in their sixth digit.
        # Gradients of two rows cancel: what is left is rounding of terms of
        # the order of 1 / scale.
        largest = float(np.max(np.abs(plain)))
        limit = 3e-4 * largest + 1e-6 / scale
        np.testing.assert_allclose(fused, plain, rtol=1e-3, atol=limit)


def test_frozen_batch_norm_keeps_its_statistics(images):
    backbone = backbones.build("small")
    backbone.trainable = False
    before = _state(backbone)
    features = backbone(images, training=True)
    np.testing.assert_array_equal(features, backbone(images, training=False))
    for old, new in zip(before, _state(backbone), strict=True):
        np.testing.assert_array_equal(old, new)


LOAD_ALONE = """
import sys, keras, numpy as np
images = np.load("{folder}/images.npy")
for name in {names}:
    model = keras.models.load_model("{folder}/" + name + ".keras")
    features = [model(images, training=t) for t in (False, True)]
    np.save("{folder}/" + name + ".npy", features)
assert not any(name.startswith("tfclust") for name in sys.modules)
"""


def test_saved_backbones_load_without_the_library(precision, images, tmp_path):
    inputs = keras.Input([None, None, 3])
    convolution = keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))
    saved = {
        "resnet18": backbones.build("resnet18", sync_batch_norm=True),
        # The channels are swapped by an operation, not a layer.
        "adapted": backbones.adapt(convolution, preprocessing="bgr"),
    }
    precision("mixed_bfloat16")
    saved["half"] = backbones.build("small")
    np.save(tmp_path / "images.npy", images)
    for name, backbone in saved.items():
        backbone.save(tmp_path / f"{name}.keras")
    run_in_subprocess(LOAD_ALONE.format(folder=tmp_path, names=list(saved)))
    for name, backbone in saved.items():
        features = np.stack(
            [backbone(images, training=t) for t in (False, True)]
        )
        # The fused batch norm sums in another order than Keras's, and
        # bfloat16 has 8 bits.
        limit = 0.1 if name == "half" else 1e-3
        reloaded = np.load(tmp_path / f"{name}.npy")
        scale = np.max(np.abs(features))
        np.testing.assert_allclose(reloaded, features, atol=limit * scale)


def test_a_reloaded_fused_backbone_trains_alike(small, images, tmp_path):
    small.save(tmp_path / "small.keras")
    reloaded = keras.models.load_model(tmp_path / "small.keras")
    features = small(images, training=True)
    np.testing.assert_allclose(
        reloaded(images, training=True), features, rtol=1e-3, atol=1e-4
    )
    for kept, other in zip(_state(small), _state(reloaded), strict=True):
        np.testing.assert_allclose(other, kept, rtol=1e-4, atol=1e-5)


TWO_REPLICAS = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfclust import backbones
images = np.random.default_rng(0).random((8, 16, 16, 3), np.float32)
keras.utils.set_random_seed(0)
alone = backbones.build("small")
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    together = backbones.build("small", sync_batch_norm=True)
    together.set_weights(alone.get_weights())
whole = alone(images, training=True).numpy()
def value(context):
    half = context.replica_id_in_sync_group * 4
    return tf.constant(images[half:half + 4])
halves = strategy.experimental_distribute_values_from_function(value)
@tf.function
def forward(x):
    return strategy.run(lambda x: together(x, training=True), args=(x,))
parts = strategy.experimental_local_results(forward(halves))
np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-3, atol=1e-4)
for one, two in zip(alone.get_weights(), together.get_weights(), strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
"""


def test_synchronised_halves_of_a_batch_equal_the_whole():
    run_in_subprocess(TWO_REPLICAS)
