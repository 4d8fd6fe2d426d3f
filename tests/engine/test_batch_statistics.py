"""Batch norm over each replica's own rows."""

import pytest

from tests.support.processes import run_in_subprocess
from tfclust.runs import recipes

# Two replicas and one device see the same images with the same weights.
TWO_REPLICAS = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfclust import methods, optimizers
from tests.support.tiny import digits, tiny_backbone, two_views

views = two_views(digits(16), batch_size=16)

def build():
    backbone = tiny_backbone(batch_norm=True)
    keras.utils.set_random_seed(4)
    # CoKe has batch norm in its backbone, projector and predictor.
    method = methods.CoKe(
        backbone, num_clusters=4, projection_width=4, hidden_width=5,
        prediction_head=True, batch_norm="replica")
    method.compile(optimizer=optimizers.SGD(0.1))
    method.prepare(views)
    return method

def running(method):
    return {k: v for k, v in method.state().items() if "moving_" in k}

def assert_same_on_both(method):
    moved = 0
    for variable in method.variables:
        one, two = (
            v.numpy() for v in strategy.experimental_local_results(
                variable.value))
        np.testing.assert_array_equal(one, two, err_msg=variable.path)
        moved += "moving_" in variable.path
    assert moved >= 8, moved

alone = build()
start = alone.state()
halves = []
images = views.on_device(next(iter(views.batches(0))))
for rows in (slice(0, 8), slice(8, 16)):
    alone.load_state(start)
    alone.forward(tuple(x[:, rows] for x in images), training=True)
    halves.append(running(alone))

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    together = build()
together.load_state(start)
together.fit(views, steps=1)
assert_same_on_both(together)
found = running(together)
assert len(found) >= 8
apart = 0
for name, value in found.items():
    one, two = (half[name] for half in halves)
    apart += np.abs(one - two).max() > 1e-4
    # float32, and layers that sum in another order.
    np.testing.assert_allclose(
        value, (one + two) / 2, rtol=1e-3, atol=1e-5, err_msg=name)
assert apart >= len(found) / 2, apart  # or it would show nothing

together.extract("units", views="train", training=True)
assert_same_on_both(together)
"""


@pytest.mark.slow
def test_replicas_normalise_their_own_rows_and_share_the_mean():
    run_in_subprocess(TWO_REPLICAS)


KNOBS = {"data": "digits:", "workdir": "w", "steps": 1, "num_clusters": 5}


def test_a_run_goes_on_with_its_own_groups_alone():
    words = recipes.to_words(recipes.make_recipe(**KNOBS))
    other = recipes.make_recipe(**KNOBS, batch_norm="replica")
    found = recipes.differences(other, words)
    assert found == [("batch_norm", "global", "replica")]
