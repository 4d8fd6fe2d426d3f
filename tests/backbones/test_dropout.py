"""Dropout of a backbone draws the same on any number of replicas."""

import pytest

from tests.support.marks import slow
from tests.support.processes import run_in_subprocess

TWO_REPLICAS = """
VIEWS = 1
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfclust.backbones.alexnet import dropout
from tfclust.backbones.dropout import views_in_pass

def network():
    keras.utils.set_random_seed(0)
    rows = keras.Input([16])
    return keras.Model(rows, dropout(rows, name="dropout"))

rows = np.random.default_rng(0).random((6, 16), np.float32)
alone = network()
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    together = network()
by_view = rows.reshape(VIEWS, -1, 16)  # [V, B, C]
half = by_view.shape[1] // 2
def value(context):
    begin = context.replica_id_in_sync_group * half
    return tf.constant(by_view[:, begin:begin + half].reshape(-1, 16))
halves = strategy.experimental_distribute_values_from_function(value)
def drop(model, x):
    with views_in_pass(VIEWS):
        return model(x, training=True)
@tf.function
def forward(x):
    return strategy.run(lambda x: drop(together, x), args=(x,))
for step in range(3):
    parts = strategy.experimental_local_results(forward(halves))
    parts = [part.numpy().reshape(VIEWS, half, 16) for part in parts]
    whole = drop(alone, rows).numpy()
    joined = np.concatenate(parts, axis=1).reshape(-1, 16)
    np.testing.assert_array_equal(joined, whole)
    assert 0.2 < np.mean(whole == 0) < 0.8
    assert not np.array_equal(parts[0] == 0, parts[1] == 0)
"""


@pytest.mark.parametrize("views", [slow(1), 3])
def test_two_replicas_drop_what_one_does(views):
    run_in_subprocess(TWO_REPLICAS.replace("VIEWS = 1", f"VIEWS = {views}"))
