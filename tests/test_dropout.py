"""Dropout of a backbone draws the same on any number of replicas."""

from conftest import run_in_subprocess

TWO_REPLICAS = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfclust.backbones.alexnet import dropout

def network():
    keras.utils.set_random_seed(0)
    rows = keras.Input([16])
    return keras.Model(rows, dropout(rows, name="dropout"))

rows = np.random.default_rng(0).random((6, 16), np.float32)
alone = network()
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    together = network()
def value(context):
    half = context.replica_id_in_sync_group * 3
    return tf.constant(rows[half:half + 3])
halves = strategy.experimental_distribute_values_from_function(value)
@tf.function
def forward(x):
    return strategy.run(lambda x: together(x, training=True), args=(x,))
for step in range(3):
    parts = strategy.experimental_local_results(forward(halves))
    whole = alone(rows, training=True).numpy()
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert 0.2 < np.mean(whole == 0) < 0.8
    assert not np.array_equal(parts[0] == 0, parts[1] == 0)
"""


def test_two_replicas_drop_what_one_does():
    run_in_subprocess(TWO_REPLICAS)
