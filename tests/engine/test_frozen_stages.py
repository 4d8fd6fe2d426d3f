"""Training beside frozen stages: on one device, on two, and after a stop."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.support import contract_run
from tests.support.processes import run_in_subprocess
from tfclust import backbones, methods, optimizers


def half_frozen():
    """A stem, frozen, with statistics of its own; and a stage."""
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input([None, None, 3])
    for name in ("stem", "stage1"):
        x = layers.Conv2D(6, 3, strides=2, name=f"{name}_conv")(x)
        x = layers.BatchNormalization(momentum=0.5, name=f"{name}_bn")(x)
    x = layers.GlobalAveragePooling2D()(x)
    backbone = keras.Model(inputs, x)
    backbone.get_layer("stem_bn").moving_mean.assign([0.3] * 6)
    backbones.freeze(backbone, 1)
    return backbone


def build(batch_norm="global"):
    backbone = half_frozen()
    method = methods.SwAV(
        backbone,
        num_clusters=5,
        projection_width=4,
        hidden_width=5,
        batch_norm=batch_norm,
    )
    optimizer = optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1)
    method.compile(optimizer=optimizer)
    return method


def parts(method):
    """Weights and statistics of the stem, and of the stage."""
    stages = backbones.stages(method.backbone)
    return [[v.numpy() for v in stage] for stage in stages]


@pytest.fixture(scope="module")
def whole():
    return contract_run.Whole(build, contract_run.views)


def test_steps_with_decay_leave_what_is_frozen_as_it_is(whole):
    before, after = parts(build()), parts(whole.at(12)[0])
    for one, other in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(before[1], after[1], strict=True):
        assert np.any(one != other)


def test_the_optimizer_has_no_slots_for_what_is_frozen(whole):
    method, _ = whole.at(12)
    frozen = {v.path for v in backbones.stages(method.backbone)[0]}
    assert not frozen & {v.path for v in method.trainable_variables}
    # Step and rate, and a momentum for each that is trained.
    slots = len(method.optimizer.variables)
    assert slots == len(method.trainable_variables) + 2


def test_a_stopped_run_goes_on_to_the_bit(whole):
    whole.assert_goes_on()


def test_a_pass_in_training_mode_leaves_frozen_statistics(whole):
    method, _ = whole.at(4)
    before = parts(method)
    method.extract("units", views="train", training=True)
    after = parts(method)
    for one, other in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.any(before[1][-1] != after[1][-1])


def test_what_is_frozen_is_settled_when_training_begins():
    method = build()
    method.backbone.trainable = False
    method.prepare(contract_run.views())
    before = parts(method)
    method.fit(method.views, steps=1, verbose=0)
    for stage, same in zip(before, parts(method), strict=True):
        for one, other in zip(stage, same, strict=True):
            np.testing.assert_array_equal(one, other)


TWO_REPLICAS = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.engine.test_frozen_stages import build, parts
from tests.support import contract_run

group = "GROUP"
start = parts(build())
alone = build(group)
alone.fit(contract_run.views(), steps=4, verbose=0)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    together = build(group)
together.fit(contract_run.views(), steps=4, verbose=0)
for variable in together.variables:
    one, two = (
        v.numpy() for v in strategy.experimental_local_results(variable.value))
    np.testing.assert_array_equal(one, two, err_msg=variable.path)
for one, other in zip(start[0], parts(together)[0], strict=True):
    np.testing.assert_array_equal(one, other)
assert np.any(start[1][-1] != parts(together)[1][-1])
if group == "global":
    contract_run.assert_close(alone.state(), together.state())
"""


@pytest.mark.slow
@pytest.mark.parametrize("group", ["replica", "global"])
def test_replicas_leave_what_is_frozen_as_it_is(group):
    run_in_subprocess(TWO_REPLICAS.replace("GROUP", group))
