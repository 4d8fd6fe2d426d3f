"""Optimizers step by step against plain NumPy loops in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.processes import run_in_subprocess
from tfclust import optimizers
from tfclust.optimizers import LARS, SGD, AdamW, Lamb, OptimizerConfig, Rule

# float32 against float64 over a few steps of size one or less.
TOLERANCE = {"rtol": 2e-5, "atol": 2e-6}
SHAPES = {"kernel": (5, 3), "bias": (3,), "gain": (4,), "filter": (2, 2, 1, 3)}


def plain_step(p, g, decay):
    return g + decay * p


def swav_step(p, g, decay, trust=1e-3):
    """apex LARC without clip, as methods.md 0.2 gives it."""
    weights, gradient = np.linalg.norm(p), np.linalg.norm(g)
    if weights == 0 or gradient == 0:
        return g
    return (g + decay * p) * (
        trust * weights / (gradient + decay * weights + 1e-8)
    )


def vectors_plain_step(p, g, decay, trust=1e-3):
    """CoKe's LARS, as methods.md 0.2 gives it."""
    if p.ndim < 2:
        return g
    step = g + decay * p
    weights, norm = np.linalg.norm(p), np.linalg.norm(step)
    return step * (trust * weights / norm if weights and norm else 1.0)


FAMILIES = {
    "sgd": (SGD, {}, plain_step),
    "lars swav": (LARS, {"flavour": "swav"}, swav_step),
    "lars plain": (LARS, {"flavour": "vectors_plain"}, vectors_plain_step),
}


def momentum_loop(
    step_of, starts, gradients, rates, *, momentum, decay, nesterov=False
):
    """PyTorch's update: v = m v + step; p -= rate (v, or step + m v)."""
    points = {name: p.astype(np.float64) for name, p in starts.items()}
    velocity = {name: np.zeros_like(p) for name, p in points.items()}
    for rate, by_name in zip(rates, gradients, strict=True):
        for name, g in by_name.items():
            step = step_of(points[name], g.astype(np.float64), decay)
            velocity[name] = momentum * velocity[name] + step
            taken = velocity[name]
            if nesterov:
                taken = step + momentum * velocity[name]
            points[name] = points[name] - rate * taken
    return points


def random_case(seed, num_steps):
    random = np.random.default_rng(seed)

    def draw():
        return {
            name: random.normal(size=shape).astype(np.float32)
            for name, shape in SHAPES.items()
        }

    starts = draw()
    starts["bias"] = np.zeros(SHAPES["bias"], np.float32)
    gradients = [draw() for _ in range(num_steps)]
    # A head that nothing reaches yet: a norm of exactly zero.
    gradients[0]["gain"] = np.zeros(SHAPES["gain"], np.float32)
    return starts, gradients


def as_variables(starts):
    return {
        name: keras.Variable(value, name=name) for name, value in starts.items()
    }


def run(optimizer, variables, gradients, compiled=None):
    """Applies `gradients` one after another; `compiled` as jit_compile."""

    def apply(by_name):
        rows = [by_name[name] for name in variables]
        optimizer.apply(rows, list(variables.values()))

    optimizer.build(list(variables.values()))
    step = (
        apply if compiled is None else tf.function(apply, jit_compile=compiled)
    )
    for by_name in gradients:
        step({name: tf.constant(g) for name, g in by_name.items()})


def close(variables, expected, **tolerance):
    for name, value in expected.items():
        np.testing.assert_allclose(
            variables[name].numpy(),
            value,
            err_msg=name,
            **(tolerance or TOLERANCE),
        )


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


ALL = {
    "sgd": lambda: SGD(0.1, weight_decay=0.1),
    "lars": lambda: LARS(5.0, weight_decay=0.1),
    "lars plain": lambda: LARS(5.0, weight_decay=0.1, flavour="vectors_plain"),
    "adamw": lambda: AdamW(0.1, weight_decay=0.1),
    "lamb": lambda: Lamb(0.1, weight_decay=0.1),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("compiled", [None, False, True])
def test_frozen_variable_and_slots_stay_then_start_as_new(name, compiled):
    starts, gradients = random_case(5, num_steps=5)
    # A frozen tensor may get anything, as a head that overflows does.
    for by_name in gradients[:3]:
        by_name["kernel"] = np.full(SHAPES["kernel"], np.nan, np.float32)
    variables = as_variables(starts)
    kernel = variables["kernel"]
    optimizer = ALL[name]()
    optimizer.set_rules({kernel.path: Rule(frozen_steps=3)})
    run(optimizer, variables, gradients[:3], compiled)
    np.testing.assert_array_equal(kernel.numpy(), starts["kernel"])
    for slot in optimizers.slots_of(optimizer, kernel):
        assert not slot.numpy().any()
    assert (variables["bias"].numpy() != starts["bias"]).all()
    run(optimizer, variables, gradients[3:], compiled)
    assert np.isfinite(kernel.numpy()).all()
    assert (kernel.numpy() != starts["kernel"]).all()


@pytest.mark.parametrize("name", ALL)
def test_rate_rule_scales_the_whole_step_of_one_variable(name):
    starts, gradients = random_case(11, num_steps=1)
    moved = {}
    for rate in (1.0, 0.25):
        variables = as_variables(starts)
        optimizer = ALL[name]()
        optimizer.set_rules({variables["filter"].path: Rule(rate=rate)})
        run(optimizer, variables, gradients)
        moved[rate] = {
            n: v.numpy().astype(np.float64) - starts[n]
            for n, v in variables.items()
        }
    # One rounding of p - step; AdamW and LAMB decay first, then look at p.
    close_to = {"rtol": 2e-2, "atol": 1e-6}
    np.testing.assert_allclose(
        moved[0.25]["filter"], 0.25 * moved[1.0]["filter"], **close_to
    )
    np.testing.assert_array_equal(moved[0.25]["bias"], moved[1.0]["bias"])


@pytest.mark.parametrize("family", FAMILIES)
def test_momentum_and_decay_rules_replace_the_optimizers_own(family):
    make, options, step_of = FAMILIES[family]
    starts, gradients = random_case(13, num_steps=4)
    variables = as_variables(starts)
    optimizer = make(0.3, 0.9, 1e-2, **options)
    rule = Rule(momentum=0.0, decay=0.5)
    optimizer.set_rules({variables["kernel"].path: rule})
    run(optimizer, variables, gradients)
    for names, momentum, decay in (
        (["kernel"], 0.0, 0.5),
        (["bias", "gain", "filter"], 0.9, 1e-2),
    ):
        expected = momentum_loop(
            step_of,
            {name: starts[name] for name in names},
            [{name: g[name] for name in names} for g in gradients],
            [0.3] * 4,
            momentum=momentum,
            decay=decay,
        )
        close(variables, expected)


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_decay_rule_reaches_adaptive_optimizers(name):
    starts, gradients = random_case(17, num_steps=1)
    variables = as_variables(starts)
    optimizer = ALL[name]()
    optimizer.set_rules({variables["kernel"].path: Rule(decay=0.0)})
    run(optimizer, variables, gradients)
    plain = as_variables(starts)
    without = {"adamw": AdamW, "lamb": Lamb}[name](0.1, weight_decay=0.0)
    run(without, plain, gradients)
    np.testing.assert_array_equal(
        variables["kernel"].numpy(), plain["kernel"].numpy()
    )
    assert (variables["filter"].numpy() != plain["filter"].numpy()).any()


def test_names_left_out_of_decay_are_left_out():
    starts, gradients = random_case(19, num_steps=3)
    variables = as_variables(starts)
    sgd = SGD(0.1, 0.9, weight_decay=0.5)
    sgd.exclude_from_weight_decay(var_names=["bias", "gain"])
    run(sgd, variables, gradients)
    for names, decay in (
        (["bias", "gain"], 0.0),
        (["kernel", "filter"], 0.5),
    ):
        expected = momentum_loop(
            plain_step,
            {name: starts[name] for name in names},
            [{name: g[name] for name in names} for g in gradients],
            [0.1] * 3,
            momentum=0.9,
            decay=decay,
        )
        close(variables, expected)


@pytest.mark.parametrize("name", ALL)
def test_reset_clears_the_slots_of_the_named_variables_only(name):
    starts, gradients = random_case(23, num_steps=2)
    variables = as_variables(starts)
    optimizer = ALL[name]()
    run(optimizer, variables, gradients)
    wrapped = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizers.reset_slots(wrapped, [variables["kernel"]])
    for slot in optimizers.slots_of(wrapped, variables["kernel"]):
        assert not slot.numpy().any()
    for slot in optimizers.slots_of(wrapped, variables["filter"]):
        assert slot.numpy().all()
    assert int(optimizer.iterations) == 2


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
from tests.optimizers import test_optimizers as t
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


def test_float16_training_of_a_small_net_learns_under_xla():
    assert run_in_subprocess(FLOAT16_CASE).endswith("compiled\n")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"nowhere": Rule()}, "nowhere, which 0 of 4"),
        ({"kernel": Rule(rate=-1.0)}, "rate=-1.0"),
        ({"kernel": Rule(momentum=-0.1)}, "momentum=-0.1"),
        ({"kernel": Rule(decay=float("nan"))}, "decay=nan"),
        ({"kernel": Rule(frozen_steps=-2)}, "frozen_steps=-2"),
    ],
)
def test_impossible_rules_are_refused_with_the_path(rules, message):
    starts, _ = random_case(0, num_steps=1)
    sgd = SGD(0.1)
    with pytest.raises(ValueError, match=message):
        sgd.set_rules(rules)
        sgd.build(list(as_variables(starts).values()))


def test_rule_that_names_two_variables_is_refused():
    twins = [keras.Variable(np.zeros(2, "float32"), name="w") for _ in range(2)]
    sgd = SGD(0.1)
    sgd.build(twins)
    with pytest.raises(ValueError, match="w, which 2 of 2"):
        sgd.set_rules({"w": Rule(rate=0.1)})


@pytest.mark.parametrize("make", [AdamW, Lamb])
def test_momentum_rule_is_refused_by_adaptive_optimizers(make):
    with pytest.raises(ValueError, match=f"{make.__name__} .*momentum=0.0"):
        make(0.1).set_rules({"kernel": Rule(momentum=0.0)})


def test_rules_of_an_unknown_optimizer_are_refused_by_its_name():
    with pytest.raises(TypeError, match="RMSprop"):
        optimizers.set_rules(keras.optimizers.RMSprop(), {"kernel": Rule()})


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
