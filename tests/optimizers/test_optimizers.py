"""Optimizers step by step against plain NumPy loops in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.oracles_optimizers import (
    ALL,
    FAMILIES,
    SHAPES,
    as_variables,
    close,
    momentum_loop,
    random_case,
    run,
    swav_step,
)
from tests.support.processes import run_in_subprocess
from tfclust import optimizers
from tfclust.optimizers import LARS, SGD, AdamW, Lamb, OptimizerConfig, Rule


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_steps=st.integers(1, 5),
    rate=st.floats(1e-3, 5.0),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    decay=st.sampled_from([0.0, 1e-6, 1e-2, 0.5]),
    nesterov=st.booleans(),
)
def test_update_matches_numpy_loop(
    family, seed, num_steps, rate, momentum, decay, nesterov
):
    make, options, step_of = FAMILIES[family]
    starts, gradients = random_case(seed, num_steps)
    variables = as_variables(starts)
    optimizer = make(rate, momentum, decay, nesterov=nesterov, **options)
    run(optimizer, variables, gradients)
    expected = momentum_loop(
        step_of,
        starts,
        gradients,
        [rate] * num_steps,
        momentum=momentum,
        decay=decay,
        nesterov=nesterov,
    )
    close(variables, expected, rtol=1e-4, atol=1e-5 * (1 + rate))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("compiled", [None, False, True])
def test_rate_that_changes_stays_outside_the_momentum(family, compiled):
    make, options, step_of = FAMILIES[family]
    starts, gradients = random_case(7, num_steps=6)
    variables = as_variables(starts)
    schedule = optimizers.WarmupCosine(
        0.8, total_steps=6, warmup_steps=3, start_rate=0.1, final_rate=0.01
    )
    run(make(schedule, 0.9, 1e-2, **options), variables, gradients, compiled)
    rates = [float(schedule(step)) for step in range(6)]
    expected = momentum_loop(
        step_of, starts, gradients, rates, momentum=0.9, decay=1e-2
    )
    close(variables, expected)


def test_zero_bias_takes_its_first_swav_step_at_the_full_rate():
    bias = keras.Variable(np.zeros(3, np.float32), name="bias")
    lars = LARS(learning_rate=4.8, weight_decay=1e-6)
    lars.build([bias])
    lars.apply([tf.constant([1.0, -2.0, 0.5])], [bias])
    np.testing.assert_allclose(bias.numpy(), [-4.8, 9.6, -2.4], rtol=1e-6)


def test_lars_moves_a_tensor_by_trust_times_its_norm_whatever_the_gradient():
    for scale in (1e-12, 1.0, 1e12):
        kernel = keras.Variable(np.full([2, 2], 3.0, np.float32), name="kernel")
        lars = LARS(1.0, momentum=0.0, weight_decay=0.0, trust=1e-2)
        lars.build([kernel])
        lars.apply([tf.fill([2, 2], scale)], [kernel])
        moved = np.linalg.norm(3.0 - kernel.numpy())
        # |p| = 6; the source's 1e-8 beside |g| = 2e-12 shortens the first one.
        expected = 0.06 * (2 * scale) / (2 * scale + 1e-8)
        assert moved == pytest.approx(expected, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (AdamW, keras.optimizers.AdamW, {"weight_decay": 0.1}),
        (Lamb, keras.optimizers.Lamb, {"weight_decay": 0.1}),
        (Lamb, keras.optimizers.Lamb, {}),
    ],
)
def test_without_rules_adaptive_optimizers_are_those_of_keras(
    ours, theirs, options
):
    starts, gradients = random_case(3, num_steps=4)
    results = []
    for make in (ours, theirs):
        variables = as_variables(starts)
        run(make(0.05, **options), variables, gradients)
        results.append({n: v.numpy() for n, v in variables.items()})
    for name in SHAPES:
        np.testing.assert_allclose(results[0][name], results[1][name], 1e-6)


@pytest.mark.parametrize("name", ALL)
def test_optimizer_round_trips_through_its_config(name):
    optimizer = ALL[name]()
    words = keras.optimizers.serialize(optimizer)
    restored = keras.optimizers.deserialize(words)
    assert type(restored) is type(optimizer)
    assert restored.get_config() == optimizer.get_config()


def test_wrapped_optimizer_skips_steps_that_overflow_and_keeps_freezing():
    starts, gradients = random_case(29, num_steps=4)
    variables = as_variables(starts)
    inner = LARS(0.5)
    scaled = keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0)
    rule = Rule(frozen_steps=1)
    optimizers.set_rules(scaled, {variables["kernel"].path: rule})
    scaled.build(list(variables.values()))

    @tf.function
    def step(by_name):
        rows = [by_name[name] for name in variables]
        scaled.apply(rows, list(variables.values()))

    overflow = {n: np.full_like(g, np.inf) for n, g in gradients[0].items()}
    step(overflow)
    close(variables, starts, rtol=0, atol=0)
    assert float(scaled.dynamic_scale) == 4.0
    step({n: 4.0 * g for n, g in gradients[1].items()})
    np.testing.assert_array_equal(variables["kernel"].numpy(), starts["kernel"])
    step({n: 4.0 * g for n, g in gradients[2].items()})
    assert (variables["kernel"].numpy() != starts["kernel"]).all()
    others = ["bias", "gain", "filter"]
    expected = momentum_loop(
        swav_step,
        {name: starts[name] for name in others},
        [{n: g[n] for n in others} for g in gradients[1:3]],
        [0.5] * 2,
        momentum=0.9,
        decay=1e-6,
    )
    close(variables, expected)


STRATEGY_CASE = """
import keras
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.support import oracles_optimizers as t
from tfclust import optimizers
from tfclust.optimizers import Rule

starts, gradients = t.random_case(31, num_steps=4)
rules = {"kernel": Rule(frozen_steps=2), "filter": Rule(rate=0.5, decay=0.2)}


def train(strategy, make, scaled):
    with strategy.scope():
        variables = t.as_variables(starts)
        optimizer = make()
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(
                optimizer, initial_scale=4.0)
        optimizers.set_rules(optimizer, rules)
        optimizer.build(list(variables.values()))
    share = 1.0 / strategy.num_replicas_in_sync * (4.0 if scaled else 1.0)

    def apply(rows):
        optimizer.apply([g * share for g in rows], list(variables.values()))

    @tf.function
    def step(rows):
        strategy.run(apply, args=(rows,))

    frozen = None
    for number, by_name in enumerate(gradients):
        step([tf.constant(by_name[name]) for name in variables])
        if number == 1:
            frozen = variables["kernel"].numpy()
            slots = optimizers.slots_of(optimizer, variables["kernel"])
            assert not any(s.numpy().any() for s in slots)
    np.testing.assert_array_equal(frozen, starts["kernel"])
    with strategy.scope():
        optimizers.reset_slots(optimizer, [variables["bias"]])
    for slot in optimizers.slots_of(optimizer, variables["bias"]):
        for local in strategy.experimental_local_results(slot.value):
            assert not local.numpy().any()
    for variable in variables.values():
        copies = strategy.experimental_local_results(variable.value)
        for copy in copies[1:]:
            np.testing.assert_array_equal(copies[0].numpy(), copy.numpy())
    return {name: v.numpy() for name, v in variables.items()}


two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert two.num_replicas_in_sync == 2
one = tf.distribute.get_strategy()
for name, make in t.ALL.items():
    alone = train(one, make, scaled=False)
    for scaled in (False, True):
        together = train(two, make, scaled)
        for key in starts:
            np.testing.assert_allclose(
                together[key], alone[key], rtol=1e-5, atol=1e-6,
                err_msg=f"{name} {key} scaled={scaled}")
print("equal")
"""


@pytest.mark.slow
def test_two_replicas_take_the_steps_of_one_also_with_loss_scale():
    assert run_in_subprocess(STRATEGY_CASE).endswith("equal\n")


# In a process of its own: once operations are to be deterministic, as other
# tests ask for, Keras compiles nothing.
FLOAT16_CASE = """
import keras, numpy as np, tensorflow as tf
from tfclust.optimizers import LARS

keras.utils.set_random_seed(0)
policy = keras.mixed_precision.DTypePolicy("mixed_float16")
net = keras.Sequential([
    keras.layers.Input([6]),
    keras.layers.Dense(8, activation="relu", dtype=policy),
    keras.layers.Dense(2, dtype="float32"),
])
lars = keras.optimizers.LossScaleOptimizer(LARS(2.0, flavour="vectors_plain"))
net.compile(optimizer=lars, loss="mse", jit_compile=True)
random = np.random.default_rng(0)
x = random.normal(size=(64, 6)).astype(np.float32)
y = x[:, :2]
before = net.evaluate(x, y, verbose=0)
net.fit(x, y, epochs=30, batch_size=32, verbose=0)
assert net.evaluate(x, y, verbose=0) < 0.1 * before
assert net.jit_compile
print("compiled")
"""


@pytest.mark.slow
def test_float16_training_of_a_small_net_learns_under_xla():
    assert run_in_subprocess(FLOAT16_CASE).endswith("compiled\n")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(0.1, momentum=-0.9), "momentum=-0.9"),
        (lambda: SGD(0.1, weight_decay=-1.0), "weight_decay=-1.0"),
        (lambda: LARS(0.1, flavour="apex"), "flavour=apex"),
        (lambda: LARS(0.1, trust=0.0), "trust=0.0"),
    ],
)
def test_impossible_arguments_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("lars", LARS),
        ("lars_vectors_plain", LARS),
        ("sgd", SGD),
        ("adamw", AdamW),
        ("lamb", Lamb),
    ],
)
def test_config_builds_each_optimizer_with_its_numbers(name, make):
    config = OptimizerConfig(
        optimizer=name, learning_rate=0.02, weight_decay=3e-4, momentum=0.8
    )
    built = optimizers.build(config, steps_per_epoch=5, total_steps=20)
    assert type(built) is make
    words = built.get_config()
    assert words["weight_decay"] == 3e-4
    assert words.get("momentum", words.get("beta_1")) == 0.8
    assert words["learning_rate"]["config"]["base_rate"] == 0.02
    if make is LARS:
        plain = name == "lars_vectors_plain"
        assert words["flavour"] == ("vectors_plain" if plain else "swav")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adam"}, "optimizer=adam"),
        ({"schedule": "step"}, "schedule=step"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"final_learning_rate": 0.7}, "final_learning_rate=0.7"),
        ({"start_learning_rate": 0.7}, "start_learning_rate=0.7"),
        (
            {"schedule": "constant", "final_learning_rate": 0.1},
            "schedule=constant",
        ),
    ],
)
def test_impossible_configs_are_refused_with_their_numbers(options, message):
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**options)
