"""Balanced codes against a plain loop, and against an independent solver."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from tests.support.marks import slow
from tfclust.ops.sinkhorn import balanced_codes, hard_codes

# Scores / epsilon reach 100 at most here; float32 resolves 100 to 4e-6, and so
# codes, which are at most 1, to about as much.
FLOAT32 = 1e-5


def oracle_codes(scores, epsilon, num_iters):
    """The loop over prototypes, then over samples, on float64 logarithms."""
    log_q = np.asarray(scores, np.float64) / epsilon
    for _ in range(num_iters):
        for k in range(log_q.shape[1]):
            log_q[:, k] -= special.logsumexp(log_q[:, k])
        for b in range(log_q.shape[0]):
            log_q[b] -= special.logsumexp(log_q[b])
    return np.exp(log_q)


def transport_plan(scores, epsilon):
    """The entropic optimum by L-BFGS on its dual, no scaling anywhere.

    max_Q <Q, S> - epsilon * <Q, log Q>, rows 1, columns B / K, is
    min_g epsilon * sum_b log sum_k exp((S_bk + g_k) / epsilon) - B / K sum g.
    """
    scores = np.asarray(scores, np.float64)
    batch, num_clusters = scores.shape

    def dual(g):
        logits = (scores + g) / epsilon
        value = epsilon * special.logsumexp(logits, axis=1).sum()
        columns = special.softmax(logits, axis=1).sum(axis=0)
        share = batch / num_clusters
        return value - share * g.sum(), columns - share

    found = optimize.minimize(
        dual,
        np.zeros(num_clusters),
        jac=True,
        method="L-BFGS-B",
        options={"gtol": 1e-10, "ftol": 0, "maxiter": 10_000},
    )
    return special.softmax((scores + found.x) / epsilon, axis=1)


def cosines(batch, num_clusters, width=8, seed=0):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(batch, width))
    prototypes = generator.normal(size=(num_clusters, width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    return np.float32(rows @ prototypes.T)


@st.composite
def hard_scores(draw):
    """Cosines with dead prototypes, doubles, and rows all alike."""
    batch, num_clusters = draw(st.sampled_from([(2, 9), (24, 5), (17, 17)]))
    width = draw(st.sampled_from([1, 2, 8]))  # 1: cosines are -1 and 1 only
    scores = cosines(batch, num_clusters, width, draw(st.integers(0, 999)))
    columns = st.integers(0, num_clusters - 1)
    for k in draw(st.lists(columns, max_size=3)):
        scores[:, k] = draw(st.sampled_from([-1.0, 0.0, 1.0]))
    for b in draw(st.lists(st.integers(0, batch - 1), max_size=3)):
        scores[b] = draw(st.sampled_from([scores[0], -1.0, 1.0]))
    return scores


@pytest.mark.parametrize("epsilon", [0.01, slow(0.02), 0.05, slow(0.5)])
def test_codes_match_the_plain_loop_to_1e_5(epsilon):
    @settings(max_examples=40, deadline=None)  # the first of a shape compiles
    @given(hard_scores())
    def check(scores):
        codes = balanced_codes(scores, epsilon=epsilon, num_iters=3)
        expected = oracle_codes(scores, epsilon, 3)
        np.testing.assert_allclose(codes, expected, atol=FLOAT32)

    check()


@pytest.mark.parametrize("num_iters", [1, 2, 7])
def test_each_iteration_matches_the_plain_loop(num_iters):
    scores = cosines(30, 12)
    for epsilon in (0.01, 0.05):
        codes = balanced_codes(scores, epsilon=epsilon, num_iters=num_iters)
        expected = oracle_codes(scores, epsilon, num_iters)
        np.testing.assert_allclose(codes, expected, atol=FLOAT32)


@pytest.mark.parametrize(
    ("epsilon", "num_iters"), [(0.5, 20), (0.2, 40), (0.05, 150)]
)
def test_codes_converge_to_the_optimal_transport_plan(epsilon, num_iters):
    scores = cosines(40, 6)
    codes = balanced_codes(scores, epsilon=epsilon, num_iters=num_iters)
    plan = transport_plan(scores, epsilon)
    # The solver itself stops at column sums 1e-6 off.
    np.testing.assert_allclose(plan.sum(axis=0), 40 / 6, atol=1e-6)
    np.testing.assert_allclose(codes, plan, atol=FLOAT32)


def test_rows_sum_to_one_and_columns_carry_equal_mass_at_convergence():
    codes = balanced_codes(cosines(60, 8), epsilon=0.2, num_iters=40).numpy()
    np.testing.assert_allclose(codes.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(codes.sum(axis=0), 60 / 8, rtol=1e-5)


def test_more_iterations_bring_columns_nearer_to_equal_mass():
    scores = cosines(256, 20)
    off = [
        np.abs(
            balanced_codes(scores, epsilon=0.05, num_iters=n).numpy().sum(0)
            - 256 / 20
        ).max()
        for n in (1, 3, 9)
    ]
    assert off[0] > off[1] > off[2]


@pytest.mark.parametrize("epsilon", [0.01, 0.05, slow(0.5)])
@pytest.mark.parametrize(
    ("batch", "num_clusters"),
    [(1, 2), (1, 20_000), (16_384, 2), (16_384, 40), (48, 20_000)],
)
def test_all_sizes_give_finite_codes_whose_rows_sum_to_one(
    batch, num_clusters, epsilon
):
    scores = cosines(batch, num_clusters)
    codes = balanced_codes(scores, epsilon=epsilon, num_iters=3).numpy()
    # 20,000 terms of float32, added in any order.
    np.testing.assert_allclose(codes.sum(axis=1), 1, atol=1e-4)
    assert codes.min() >= 0
    assert codes.dtype == np.float32


@pytest.mark.parametrize("epsilon", [0.01, 0.05, 0.5])
def test_outlier_rows_leave_codes_finite_and_exact(epsilon):
    scores = cosines(24, 5)
    scores[3] = 90.0  # a row that was not brought to unit length
    scores[7] *= -40.0
    scores[11, 2] = 55.0
    scores[:, 4] = -30.0
    codes = balanced_codes(scores, epsilon=epsilon, num_iters=3)
    expected = oracle_codes(scores, epsilon, 3)
    # Up to 90 / 0.01 = 9000, which float32 resolves to 5e-4.
    np.testing.assert_allclose(codes, expected, atol=1e-3)
    np.testing.assert_allclose(codes.numpy().sum(axis=1), 1, atol=1e-6)


def test_outliers_where_factors_fit_are_as_exact_as_cosines():
    scores = cosines(24, 5)
    scores[3] = 4.0  # exp(4 / 0.05) = 5e34: the range check steps in
    codes = balanced_codes(scores, epsilon=0.05, num_iters=3)
    np.testing.assert_allclose(
        codes, oracle_codes(scores, 0.05, 3), atol=FLOAT32
    )


def test_a_column_of_minus_infinity_is_left_out():
    scores = cosines(24, 5)
    masked = np.insert(scores, 2, -np.inf, axis=1)
    for epsilon in (0.01, 0.05):
        codes = balanced_codes(masked, epsilon=epsilon, num_iters=3).numpy()
        assert not codes[:, 2].any()
        without = balanced_codes(scores, epsilon=epsilon, num_iters=3)
        np.testing.assert_allclose(
            np.delete(codes, 2, axis=1), without, atol=FLOAT32
        )


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
def test_other_types_give_the_codes_of_their_values_in_float32(dtype):
    scores = tf.cast(cosines(24, 5), dtype)
    codes = balanced_codes(scores, epsilon=0.05, num_iters=3)
    assert codes.dtype == tf.float32
    expected = balanced_codes(
        tf.cast(scores, tf.float32), epsilon=0.05, num_iters=3
    )
    np.testing.assert_array_equal(codes, expected)


def test_hard_codes_are_one_at_the_largest_code():
    scores = cosines(24, 5)
    codes = balanced_codes(scores, epsilon=0.05, num_iters=3).numpy()
    hard = hard_codes(scores, epsilon=0.05, num_iters=3).numpy()
    np.testing.assert_array_equal(hard, np.eye(5)[codes.argmax(axis=1)])


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("epsilon", [0.01, 0.05])
def test_codes_inside_a_compiled_step_are_constants(jit_compile, epsilon):
    @tf.function(jit_compile=jit_compile)
    def step(scores):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            codes = balanced_codes(scores, epsilon=epsilon, num_iters=3)
            assert codes.shape == [24, 5]
            loss = tf.reduce_sum(codes * scores)
        return codes, tape.gradient(loss, scores)

    scores = tf.constant(cosines(24, 5))
    codes, gradient = step(scores)
    np.testing.assert_allclose(
        codes, oracle_codes(scores, epsilon, 3), atol=FLOAT32
    )
    np.testing.assert_array_equal(gradient, codes)


def test_unknown_batch_sizes_are_taken():
    @tf.function(input_signature=[tf.TensorSpec([None, 5])])
    def step(scores):
        return balanced_codes(scores, epsilon=0.05, num_iters=3)

    for batch in (3, 24):
        scores = cosines(batch, 5)
        np.testing.assert_allclose(
            step(scores), oracle_codes(scores, 0.05, 3), atol=FLOAT32
        )


@pytest.mark.parametrize(
    ("shape", "epsilon", "num_iters", "message"),
    [
        ((2, 3, 4), 0.05, 3, r"scores must be \[B, K\].*\(2, 3, 4\)"),
        ((3, 4), 0.0, 3, "epsilon must be a positive float.*epsilon=0.0"),
        ((3, 4), float("nan"), 3, "epsilon must be a positive.*nan"),
        ((3, 4), 0.05, 0, "num_iters must be an int.*num_iters=0"),
    ],
)
def test_wrong_arguments_are_named(shape, epsilon, num_iters, message):
    with pytest.raises(ValueError, match=message):
        balanced_codes(np.zeros(shape), epsilon=epsilon, num_iters=num_iters)
