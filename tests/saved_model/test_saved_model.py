"""A SavedModel gives the method's numbers without tfclust, and can be tuned."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.exported import (
    OUTPUTS,
    SIZE,
    expected_outputs,
    small_backbone,
    some_images,
    stand_in,
)
from tests.support.marks import slow
from tests.support.processes import run_in_subprocess
from tfclust import backbones, saved_model


def test_reload_equals_the_keras_model_to_1e_5(exported):
    method, path = exported
    images = some_images()
    loaded = tf.saved_model.load(str(path))
    expected = expected_outputs(method, images)
    by_signature = loaded.signatures["images"](images=tf.constant(images))
    assert set(by_signature) == OUTPUTS
    for name, value in expected.items():
        np.testing.assert_allclose(by_signature[name], value, atol=1e-5)
    np.testing.assert_allclose(
        loaded(tf.constant(images)), expected["features"], atol=1e-5
    )
    differences = saved_model.compare_reload(path.parent, method, images)
    assert max(differences) <= 1e-5


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A method of raw projections with dropout, and its export."""
    method = stand_in(small_backbone(dropout=0.5), unit_projections=False)
    folder = tmp_path_factory.mktemp("raw")
    return method, saved_model.save(method, folder, image_size=SIZE)


@pytest.mark.slow
def test_raw_projections_stay_raw(raw):
    method, path = raw
    images = some_images()
    loaded = tf.saved_model.load(str(path))
    received = loaded.signatures["images"](images=tf.constant(images))
    np.testing.assert_allclose(
        received["projections"],
        expected_outputs(method, images)["projections"],
        atol=1e-5,
    )


def test_compare_reload_sees_another_model(exported):
    _, path = exported
    other = stand_in(seed=2)
    assert (
        saved_model.compare_reload(path, other, some_images()).features > 1e-3
    )


WITHOUT_TFCLUST = """
import sys


class NoTfclust:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tfclust":
            raise ImportError("tfclust must not be needed")


sys.meta_path.insert(0, NoTfclust())
import keras
import numpy as np
import tensorflow as tf

path = {path!r}
given = np.load({arrays!r})
images = tf.constant(given["images"])
model = tf.saved_model.load(path)
np.testing.assert_allclose(model(images), given["features"], atol=1e-5)
np.testing.assert_allclose(
    model(images, training=False), given["features"], atol=1e-5)
received = model.signatures["images"](images=images)
for name in ("projections", "cluster", "cluster_score"):
    np.testing.assert_allclose(received[name], given[name], atol=1e-5)

backbone = keras.models.load_model(path + "/assets.extra/backbone.keras")
np.testing.assert_allclose(backbone(images), given["features"], atol=1e-5)

layer = keras.layers.TFSMLayer(path, call_endpoint="images")
np.testing.assert_allclose(
    layer(images)["features"], given["features"], atol=1e-5)

target = tf.random.stateless_normal(given["features"].shape, [1, 2])
rate = 0.3
losses = []
for _ in range(15):
    with tf.GradientTape() as tape:
        features = model(images, training=True)
        loss = tf.reduce_mean((features - target) ** 2)
        penalty = tf.add_n([f() for f in model.regularization_losses])
        total = loss + penalty
    gradients = tape.gradient(total, model.trainable_variables)
    assert all(g is not None for g in gradients)
    for variable, gradient in zip(model.trainable_variables, gradients):
        variable.assign_sub(rate * gradient)
    losses.append(float(total))
assert losses[-1] < 0.8 * losses[0], losses
assert not any(name.startswith("tfclust") for name in sys.modules)
print("served")
"""


def test_model_works_and_learns_where_tfclust_is_not_installed(
    exported, tmp_path
):
    method, path = exported
    images = some_images()
    arrays = tmp_path / "given.npz"
    np.savez(arrays, images=images, **expected_outputs(method, images))
    code = WITHOUT_TFCLUST.format(path=str(path), arrays=str(arrays))
    assert run_in_subprocess(code).endswith("served\n")


def test_variables_are_those_of_the_backbone(exported):
    method, path = exported
    loaded = tf.saved_model.load(str(path))
    backbone = method.backbone
    assert len(loaded.variables) == len(backbone.variables)
    assert len(loaded.trainable_variables) == len(backbone.trainable_variables)
    for ours, theirs in zip(
        loaded.trainable_variables, backbone.trainable_variables, strict=True
    ):
        assert ours.trainable
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    penalty = sum(float(loss()) for loss in loaded.regularization_losses)
    assert penalty == pytest.approx(float(sum(backbone.losses)), rel=1e-5)


def test_training_call_uses_and_moves_batch_statistics(tmp_path):
    method = stand_in()
    path = saved_model.save(method, tmp_path, image_size=SIZE)
    loaded = tf.saved_model.load(str(path))
    images = tf.constant(some_images())
    expected = method.backbone(images, training=True)
    np.testing.assert_allclose(
        loaded(images, training=True), expected, atol=1e-5
    )
    for ours, theirs in zip(
        loaded.variables, method.backbone.variables, strict=True
    ):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)
    np.testing.assert_allclose(
        loaded(images), method.backbone(images, training=False), atol=1e-5
    )


def test_dropout_of_the_backbone_acts_in_training_only(raw):
    _, path = raw
    loaded = tf.saved_model.load(str(path))
    images = tf.constant(some_images())
    first, second = (loaded(images, training=True).numpy() for _ in range(2))
    assert np.abs(first - second).max() > 0.01
    np.testing.assert_array_equal(loaded(images), loaded(images))


@pytest.mark.slow
def test_pyramid_gives_the_backbones_stages_by_stride(tmp_path):
    backbone = backbones.build("small", image_size=32)
    stages = backbones.pyramid(backbone)
    assert stages
    path = saved_model.save(stand_in(backbone), tmp_path, image_size=32)
    loaded = tf.saved_model.load(str(path))
    images = tf.constant(some_images(2, 32))
    received = loaded.signatures["pyramid"](images=images)
    expected = keras.Model(backbone.inputs, stages)(images, training=False)
    assert set(received) == set(stages)
    for name, value in expected.items():
        stride = 2 ** int(name[1:])
        assert received[name].shape[1:3] == [32 // stride, 32 // stride]
        np.testing.assert_allclose(received[name], value, atol=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", slow("mixed_float16")])
def test_a_backbone_in_half_precision_is_served_in_float32(tmp_path, dtype):
    method = stand_in(small_backbone(dtype=dtype))
    path = saved_model.save(method, tmp_path, image_size=SIZE)
    images = tf.constant(some_images())
    loaded = tf.saved_model.load(str(path))
    received = loaded.signatures["images"](images=images)
    assert received["features"].dtype == tf.float32
    whole = small_backbone(dtype="float32")
    whole.set_weights(method.backbone.get_weights())
    np.testing.assert_allclose(
        loaded(images), whole(images), rtol=1e-4, atol=1e-5
    )
    halves = tf.reduce_max(tf.abs(loaded(images) - method.backbone(images)))
    assert 1e-6 < halves < 0.05  # float16 rounds finer than bfloat16


MIRRORED = """
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from tests.support import exported as t
from tfclust import saved_model

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    method = t.stand_in(t.small_backbone(synchronized=True))
path = saved_model.save(method, {folder!r}, image_size=t.SIZE)
images = tf.constant(t.some_images())
loaded = tf.saved_model.load(str(path))
expected = t.expected_outputs(method, images)
received = loaded.signatures["images"](images=images)
for name in t.OUTPUTS:
    np.testing.assert_allclose(received[name], expected[name], atol=1e-5)
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(loaded(images, training=True))
assert all(
    g is not None for g in tape.gradient(loss, loaded.trainable_variables))
assert not any(layer.synchronized for layer in keras.models.load_model(
    path / saved_model.BACKBONE_FILE).layers if "batch" in layer.name)
print("saved")
"""


def test_method_of_two_replicas_is_saved_as_one(tmp_path):
    code = MIRRORED.format(folder=str(tmp_path))
    assert run_in_subprocess(code).endswith("saved\n")
