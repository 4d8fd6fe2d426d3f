"""The learning rate by step, against the list that SwAV's script builds."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfclust import optimizers
from tfclust.optimizers import (
    Delayed,
    OptimizerConfig,
    WarmupCosine,
    WarmupDrops,
)


def rates_by_list(base, start, final, warmup_steps, total_steps):
    """methods.md 0.4 in float64: `np.linspace` with its end, then a cosine."""
    warmup = np.linspace(start, base, warmup_steps)
    length = total_steps - warmup_steps
    steps = np.arange(length)
    cosine = [
        final + 0.5 * (base - final) * (1 + math.cos(math.pi * t / length))
        for t in steps
    ]
    return np.concatenate([warmup, cosine])


@settings(deadline=None, max_examples=50)
@given(
    base=st.floats(1e-3, 5.0),
    start_share=st.floats(0.0, 1.0),
    final_share=st.floats(0.0, 1.0),
    total_steps=st.integers(1, 300_000),
    warmup_share=st.floats(0.0, 1.0),
    data=st.data(),
)
def test_rate_matches_the_list_to_1e_6(
    base, start_share, final_share, total_steps, warmup_share, data
):
    warmup_steps = int(warmup_share * total_steps)
    start, final = base * start_share, base * final_share
    schedule = WarmupCosine(
        base,
        total_steps=total_steps,
        warmup_steps=warmup_steps,
        start_rate=start,
        final_rate=final,
    )
    expected = rates_by_list(base, start, final, warmup_steps, total_steps)
    steps = data.draw(
        st.lists(st.integers(0, total_steps - 1), min_size=1, max_size=20)
    )
    rates = schedule(np.array(steps, np.int64))
    # float32 keeps 6e-8 of the rate, at most 5 here.
    np.testing.assert_allclose(rates, expected[steps], rtol=2e-7, atol=1e-12)


def test_large_batch_recipe_of_swav_at_its_corners():
    schedule = WarmupCosine(
        4.8,
        total_steps=31_200,
        warmup_steps=3_120,
        start_rate=0.3,
        final_rate=0.0048,
    )
    steps = [0, 3_119, 3_120, 17_160, 31_200, 50_000]
    expected = [0.3, 4.8, 4.8, 2.4024, 0.0048, 0.0048]
    np.testing.assert_allclose(schedule(steps), expected, rtol=1e-6)


def test_warmup_of_one_step_stays_at_the_start():
    schedule = WarmupCosine(1.0, total_steps=5, warmup_steps=1, start_rate=0.25)
    np.testing.assert_allclose(schedule([0, 1]), [0.25, 1.0])


def test_rate_is_the_same_when_compiled():
    schedule = WarmupCosine(0.6, total_steps=1_000, warmup_steps=100)
    steps = tf.range(1_200, dtype=tf.int64)
    compiled = tf.function(schedule, jit_compile=True)
    np.testing.assert_allclose(compiled(steps), schedule(steps), rtol=1e-6)


def test_schedule_round_trips_through_its_config():
    schedule = WarmupCosine(
        0.6, total_steps=50, warmup_steps=5, start_rate=0.1, final_rate=0.01
    )
    words = keras.optimizers.schedules.serialize(schedule)
    restored = keras.optimizers.schedules.deserialize(words)
    assert restored.get_config() == schedule.get_config()
    np.testing.assert_array_equal(restored([3, 30]), schedule([3, 30]))


def test_constant_schedule_warms_up_and_stays():
    config = OptimizerConfig(
        learning_rate=0.05, schedule="constant", warmup_epochs=0.5
    )
    sgd = optimizers.build(config, steps_per_epoch=10, total_steps=100)
    rates = [float(sgd._learning_rate(step)) for step in (0, 4, 5, 99, 500)]
    np.testing.assert_allclose(rates, [0.0, 0.05, 0.05, 0.05, 0.05], rtol=1e-6)


def test_final_rate_is_a_thousandth_when_left_open():
    config = OptimizerConfig(learning_rate=4.8)
    lars = optimizers.build(config, steps_per_epoch=10, total_steps=100)
    assert float(lars._learning_rate(100)) == pytest.approx(0.0048)


def test_warmup_longer_than_the_run_is_refused():
    config = OptimizerConfig(warmup_epochs=10.0)
    with pytest.raises(ValueError, match="warmup_steps=100, total_steps=50"):
        optimizers.build(config, steps_per_epoch=10, total_steps=50)


@pytest.mark.parametrize("argument", ["base_rate", "start_rate", "final_rate"])
@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf])
def test_impossible_rates_are_refused_by_name(argument, rate):
    arguments = {"base_rate": 0.1, argument: rate}
    with pytest.raises(ValueError, match=argument):
        WarmupCosine(**arguments, total_steps=10)


def test_rate_falls_by_the_factor_from_each_drop_on():
    schedule = WarmupDrops(
        0.8, drops=[(5, 0.1), (7, 0.5)], warmup_steps=3, start_rate=0.2
    )
    rates = schedule(np.arange(9))
    expected = [0.2, 0.5, 0.8, 0.8, 0.8, 0.08, 0.08, 0.04, 0.04]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_idle_epochs_have_rate_zero_and_only_shift_the_rest():
    config = OptimizerConfig(
        learning_rate=1.6, warmup_epochs=1, idle_epochs=1, schedule="cosine"
    )
    schedule = optimizers.learning_rate(
        config, steps_per_epoch=4, total_steps=20
    )
    plain = WarmupCosine(1.6, total_steps=16, warmup_steps=4, final_rate=0.0016)
    np.testing.assert_array_equal(schedule(np.arange(4)), np.zeros(4))
    np.testing.assert_allclose(
        schedule(np.arange(4, 20)), plain(np.arange(16)), rtol=1e-6
    )


@pytest.mark.parametrize(("idle", "warmup"), [(1, 0), (0.5, 0.5), (3, 0)])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_a_run_that_ends_before_its_rate_has_risen_is_refused(
    idle, warmup, schedule
):
    config = OptimizerConfig(
        idle_epochs=idle, warmup_epochs=warmup, schedule=schedule
    )
    with pytest.raises(ValueError, match="must leave some of the 8 steps"):
        optimizers.learning_rate(config, steps_per_epoch=8, total_steps=8)


def test_drops_of_a_recipe_are_epochs_of_the_run():
    config = OptimizerConfig(
        learning_rate=0.05,
        schedule="constant",
        rate_drops=((3, 0.1), (4, 0.01)),
        idle_epochs=1,
    )
    schedule = optimizers.learning_rate(
        config, steps_per_epoch=2, total_steps=10
    )
    expected = [0, 0, *[0.05] * 4, *[5e-3] * 2, *[5e-5] * 2]
    np.testing.assert_allclose(schedule(np.arange(10)), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "schedule",
    [
        WarmupDrops(0.8, drops=[(5, 0.1)], warmup_steps=3),
        Delayed(WarmupDrops(0.8, drops=[(5, 0.1)]), 4),
    ],
)
def test_schedules_survive_their_config(schedule):
    read = type(schedule).from_config(schedule.get_config())
    np.testing.assert_array_equal(read(np.arange(12)), schedule(np.arange(12)))


def test_drops_beside_a_cosine_are_refused():
    with pytest.raises(ValueError, match="Add schedule=constant"):
        OptimizerConfig(rate_drops=((3, 0.1),), schedule="cosine")
