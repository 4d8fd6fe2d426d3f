"""Clipped gradients, and weight decay that changes by step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.processes import run_in_subprocess
from tfclust import optimizers
from tfclust.optimizers import SGD, AdamW, OptimizerConfig, Rule
from tfclust.optimizers.schedules import WarmupCosine

STEPS = 5
# float32 against float64 over a few steps of size one or less.
TOLERANCE = {"rtol": 2e-5, "atol": 2e-6}
CONFIG = OptimizerConfig(
    optimizer="sgd",
    learning_rate=0.1,
    schedule="constant",
    weight_decay=0.04,
    final_weight_decay=0.4,
    clip_norm=1.5,
)


def case():
    """Weights `[4, 3]` and gradients by step, of norms below and above 1.5."""
    random = np.random.default_rng(3)
    start = random.normal(size=(4, 3))
    gradients = random.normal(size=(STEPS, 4, 3))
    gradients *= np.linspace(0.2, 1.2, STEPS)[:, None, None]
    norms = np.linalg.norm(gradients, axis=(1, 2))
    assert norms.min() < CONFIG.clip_norm < norms.max()
    return start, gradients


def clipped(gradient):
    return gradient * min(1.0, CONFIG.clip_norm / np.linalg.norm(gradient))


def decay(step):
    """DINO's cosine from 0.04 to 0.4."""
    return 0.4 + 0.5 * (0.04 - 0.4) * (1 + np.cos(np.pi * step / STEPS))


def trained(optimizer):
    start, gradients = case()
    variable = keras.Variable(np.float32(start), name="kernel")
    optimizer.build([variable])
    for gradient in np.float32(gradients):
        optimizer.apply([tf.constant(gradient)], [variable])
    return variable.numpy()


def build(config=CONFIG):
    return optimizers.build(config, steps_per_epoch=1, total_steps=STEPS)


def test_sgd_clips_each_gradient_and_decays_by_the_step():
    point, gradients = case()
    velocity = 0.0
    for step, gradient in enumerate(gradients):
        velocity = 0.9 * velocity + clipped(gradient) + decay(step) * point
        point = point - 0.1 * velocity
    np.testing.assert_allclose(trained(build()), point, **TOLERANCE)


def test_adamw_clips_each_gradient_and_decays_by_the_step():
    schedule = WarmupCosine(0.04, total_steps=STEPS, final_rate=0.4)
    optimizer = AdamW(0.1, clip_norm=1.5, decay_schedule=schedule)
    point, gradients = case()
    first = second = 0.0
    for step, gradient in enumerate(gradients):
        gradient = clipped(gradient)
        point = point - 0.1 * decay(step) * point
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        bias = np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        point = point - 0.1 * bias * first / (np.sqrt(second) + 1e-7)
    np.testing.assert_allclose(trained(optimizer), point, **TOLERANCE)


def test_a_rule_without_decay_keeps_out_of_the_schedule():
    optimizer = build()
    optimizers.set_rules(optimizer, {"kernel": Rule(decay=0.0)})
    point, gradients = case()
    velocity = 0.0
    for gradient in gradients:
        velocity = 0.9 * velocity + clipped(gradient)
        point = point - 0.1 * velocity
    np.testing.assert_allclose(trained(optimizer), point, **TOLERANCE)


@pytest.mark.parametrize("make", [build, lambda: AdamW(0.1, clip_norm=2.0)])
def test_an_optimizer_survives_its_spelling(make):
    optimizer = make()
    again = type(optimizer).from_config(optimizer.get_config())
    np.testing.assert_array_equal(trained(again), trained(make()))


@pytest.mark.parametrize("name", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_kerass_own_clipping_is_refused(name):
    """It would clip what each replica has before the sum."""
    with pytest.raises(ValueError, match=f"{name}=1.0. Use clip_norm"):
        SGD(0.1, **{name: 1.0})


def test_a_norm_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match=r"Received: clip_norm=0\.0"):
        SGD(0.1, clip_norm=0.0)


ON_TWO_REPLICAS = """
import numpy as np
import keras
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.optimizers import test_clipping as t

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
start, gradients = t.case()
with strategy.scope():
    variable = keras.Variable(np.float32(start), name="kernel")
    optimizer = t.build()
    optimizer.build([variable])

def apply(gradient):
    # Halves of unlike size: each alone is below the bound, or far above it.
    own = tf.distribute.get_replica_context().replica_id_in_sync_group
    share = tf.where(own == 0, 0.1, 0.9)
    optimizer.apply([gradient * share], [variable])

@tf.function
def step(gradient):
    strategy.run(apply, args=(gradient,))

for gradient in np.float32(gradients):
    step(tf.constant(gradient))
np.testing.assert_allclose(
    variable.numpy(), t.trained(t.build()), rtol=1e-5, atol=1e-6)
print("equal")
"""


def test_two_replicas_clip_the_sum_of_their_gradients():
    assert run_in_subprocess(ON_TWO_REPLICAS).split() == ["equal"]
