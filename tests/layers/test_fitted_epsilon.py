"""Epsilon fitted to the spread of scores."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support.processes import run_in_subprocess
from tfclust.layers.fitted_epsilon import FittedEpsilon, spread_of
from tfclust.ops.sinkhorn import balanced_codes


def spread_by_numpy(scores):
    scores = np.float64(scores)
    about = scores - scores.mean(1, keepdims=True)
    about -= about.mean(0, keepdims=True)
    return np.sqrt(np.mean(about**2))


def fitted(*heads, largest=0.05):
    epsilon = FittedEpsilon(
        len(heads), largest=largest, share=0.2, name="epsilon"
    )
    epsilon.update([tf.constant(h, tf.float32) for h in heads], tf.constant(0))
    return epsilon.values.numpy()


@pytest.mark.parametrize("scale", [0.3, 1e-3])
def test_the_spread_leaves_out_what_changes_no_code(scale):
    rng = np.random.default_rng(0)
    scores = scale * rng.normal(size=(40, 7))
    moved = scores + rng.normal(size=(40, 1)) + rng.normal(size=7)
    expected = spread_by_numpy(scores)
    # Offsets of 1 beside a spread of 1e-3 leave float32 four digits of it.
    np.testing.assert_allclose(
        spread_of(tf.constant(moved, tf.float32)), expected, rtol=1e-3
    )
    codes = [
        balanced_codes(tf.constant(s, tf.float32), epsilon=0.1, num_iters=50)
        for s in (scores, moved)
    ]
    np.testing.assert_allclose(*codes, atol=1e-3)


def test_each_head_has_a_share_of_its_spread_up_to_the_largest():
    rng = np.random.default_rng(1)
    alike, unlike = 0.01 * rng.normal(size=(50, 6)), rng.normal(size=(50, 9))
    expected = [0.2 * spread_by_numpy(alike), 0.05]
    np.testing.assert_allclose(fitted(alike, unlike), expected, rtol=1e-4)


def test_identical_scores_leave_a_positive_epsilon():
    assert fitted(np.full((8, 3), 0.7)) == pytest.approx(1e-4)


def test_later_steps_are_smoothed_in_logarithms():
    rng = np.random.default_rng(2)
    first, second = 0.1 * rng.normal(size=(2, 30, 5))
    epsilon = FittedEpsilon(1, largest=1.0, share=0.2, name="epsilon")
    for step, scores in enumerate((first, 0.01 * second)):
        epsilon.update([tf.constant(scores, tf.float32)], tf.constant(step))
    logs = np.log([0.2 * spread_by_numpy(s) for s in (first, 0.01 * second)])
    np.testing.assert_allclose(
        np.log(epsilon.values), 0.9 * logs[:1] + 0.1 * logs[1:], rtol=1e-4
    )


def test_codes_are_equally_sharp_however_alike_the_scores_are():
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(64, 20))
    found = []
    for scale in (0.2, 0.02, 0.002):
        few = scale * scores
        codes = balanced_codes(
            tf.constant(few, tf.float32),
            epsilon=tf.constant(fitted(few)[0]),
            num_iters=3,
        )
        found.append(codes.numpy())
    # Float32 keeps four digits of a spread of 0.002.
    np.testing.assert_allclose(found[0], found[1], atol=1e-2)
    np.testing.assert_allclose(found[1], found[2], atol=1e-2)
    at_published = balanced_codes(
        tf.constant(0.002 * scores, tf.float32), epsilon=0.05, num_iters=3
    )
    assert np.max(at_published) < 1.3 / 20  # all but uniform


def test_two_replicas_find_the_spread_of_all_rows():
    code = """
import numpy as np, tensorflow as tf
from tfclust.layers.fitted_epsilon import spread_of
from tfclust.runtime import devices
strategy = devices.make_strategy("mirrored", 2)
scores = np.random.default_rng(0).normal(size=(12, 5)).astype("float32")
rows = strategy.experimental_distribute_values_from_function(
    lambda c: tf.constant(scores[6 * c.replica_id_in_sync_group:][:6]))
found = strategy.run(tf.function(spread_of), args=(rows,))
both = [float(v) for v in strategy.experimental_local_results(found)]
assert both[0] == both[1], both
np.testing.assert_allclose(both[0], float(spread_of(scores)), rtol=1e-6)
print("equal")
"""
    assert "equal" in run_in_subprocess(code)
