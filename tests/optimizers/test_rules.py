"""Rules for single variables: frozen, other rates, momenta and decays."""

import keras
import numpy as np
import pytest

from tests.support.oracles_optimizers import (
    ALL,
    FAMILIES,
    SHAPES,
    as_variables,
    close,
    momentum_loop,
    plain_step,
    random_case,
    run,
)
from tfclust import optimizers
from tfclust.optimizers import SGD, AdamW, Lamb, Rule


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
