"""The label step of SeLa against a dense float64 loop, and its promises."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support import oracles
from tests.support.marks import slow
from tests.support.processes import run_in_subprocess
from tfclust.ops import transport
from tfclust.ops.transport import balanced_labels


def mixture(num_rows, width=16, num_sources=60, seed=0):
    """Rows around sources of unlike size, as classes of images are."""
    generator = np.random.default_rng(seed)
    sources = generator.normal(size=(num_sources, width))
    shares = generator.dirichlet(np.full(num_sources, 2.0))
    chosen = generator.choice(num_sources, size=num_rows, p=shares)
    rows = sources[chosen] + 0.7 * generator.normal(size=(num_rows, width))
    return rows.astype(np.float32)


def untrained(width, num_clusters, seed=0):
    """kernel and bias as `dense.linear` begins."""
    limit = 1 / np.sqrt(width)
    generator = np.random.default_rng(seed)
    size = (width + 1, num_clusters)
    weights = generator.uniform(-limit, limit, size=size)
    return np.float32(weights[:-1]), np.float32(weights[-1])


def trained(rows, num_clusters, sharpness, seed=0):
    """A head that has learnt to tell near rows from far ones."""
    generator = np.random.default_rng(seed)
    chosen = generator.choice(len(rows), num_clusters, replace=False)
    centres = rows[chosen]
    return sharpness * centres.T, -sharpness / 2 * (centres**2).sum(axis=1)


def log_probs(rows, kernel, bias):
    return oracles.log_softmax(np.float64(rows) @ kernel + bias)


def small():
    rows = mixture(1_001)
    return rows, *trained(rows, 20, 0.3)


@pytest.mark.parametrize("head", ["untrained", slow("trained")])
def test_labels_and_objective_equal_the_dense_float64_loop(head):
    rows = mixture(20_000, 32)
    if head == "untrained":
        (kernel, bias), power = untrained(32, 128), 25.0
    else:
        (kernel, bias), power = trained(rows, 128, 0.1), 10.0
    result = balanced_labels(rows, kernel, bias, power=power)
    probs = log_probs(rows, kernel, bias)
    q = oracles.transport(probs, power, tolerance=1e-7)
    assert np.mean(result.pseudo_labels == q.argmax(axis=1)) >= 0.999
    expected = oracles.joint_objective(probs, q, power)
    assert result.objective == pytest.approx(expected, rel=1e-3)
    # Soft masses within 1 %, hard counts within 20 % of N / K.
    np.testing.assert_allclose(q.sum(axis=0) * 128, 1, atol=0.01)
    assert result.marginal_error <= 0.01
    counts = np.bincount(result.pseudo_labels, minlength=128)
    assert np.abs(counts * 128 / 20_000 - 1).max() <= 0.2


def test_soft_marginals_and_objective_are_those_of_log_r():
    rows, kernel, bias = small()
    result = balanced_labels(rows, kernel, bias, power=10.0)
    probs = log_probs(rows, kernel, bias)
    logits = 10 * probs + result.log_r
    q = np.exp(oracles.log_softmax(logits)) / len(rows)
    error = np.abs(q.sum(axis=0) * 20 - 1).max()
    assert result.marginal_error == pytest.approx(error, abs=1e-5)
    expected = oracles.joint_objective(probs, q, 10.0)
    assert result.objective == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(result.pseudo_labels, logits.argmax(axis=1))
    assert result.pseudo_labels.dtype == np.int32
    assert result.log_r.dtype == np.float64


@pytest.mark.parametrize("noise", [0.0, 1e-3, 0.1])
def test_the_joint_objective_never_rises_at_a_label_step(noise):
    """Down to heads that hardly moved, where passes must be exact to show it.

    At the default tolerance masses are within 1 %, and so is the objective.
    """
    rows, kernel, bias = small()
    generator = np.random.default_rng(0)
    log_r, logits = None, None
    for _ in range(4):
        probs = log_probs(rows, kernel, bias)
        result = balanced_labels(
            rows,
            kernel,
            bias,
            power=10.0,
            initial_log_r=log_r,
            tolerance=1e-6,
        )
        assert result.marginal_error < 2e-5  # a fall without balance is easy
        if logits is not None:  # the last Q, under the head of now
            q = np.exp(oracles.log_softmax(logits)) / len(rows)
            before = oracles.joint_objective(probs, q, 10.0)
            assert result.objective <= before + 1e-6  # float32 of 1.7
        log_r = result.log_r
        logits = 10 * probs + log_r
        # What training does to the head, more or less.
        kernel = kernel + noise * generator.normal(size=kernel.shape)


def test_the_objective_falls_towards_the_end_for_balanced_masses():
    rows, kernel, bias = small()
    rough = balanced_labels(rows, kernel, bias, power=10.0, tolerance=0.1)
    exact = balanced_labels(rows, kernel, bias, power=10.0, tolerance=1e-6)
    assert rough.num_iters < exact.num_iters
    assert exact.marginal_error < rough.marginal_error <= 0.01
    assert rough.objective == pytest.approx(exact.objective, rel=2e-3)


def test_passes_end_at_the_published_tolerance_and_sharp_heads():
    """8e-8 an image: less than float32 tells of a log r of 10."""
    rows = mixture(5_000, 32, num_sources=30)
    kernel, bias = trained(rows, 100, 0.03)
    result = balanced_labels(rows, kernel, bias, power=25.0, tolerance=8e-8)
    assert np.abs(result.log_r).max() > 10
    assert result.num_iters < 700  # 550
    q = oracles.transport(log_probs(rows, kernel, bias), 25.0, tolerance=8e-8)
    assert np.mean(result.pseudo_labels == q.argmax(axis=1)) >= 0.999


@pytest.mark.parametrize("block_rows", [slow(9), 100, slow(5_000)])
@pytest.mark.parametrize("cache_bytes", [0, transport.CACHE_BYTES])
def test_neither_cache_nor_blocks_change_anything(cache_bytes, block_rows):
    rows, kernel, bias = small()
    whole = balanced_labels(rows, kernel, bias, power=10.0)
    found = balanced_labels(
        tf.constant(rows),
        kernel,
        bias,
        power=10.0,
        cache_bytes=cache_bytes,
        block_rows=block_rows,
    )
    np.testing.assert_array_equal(found.pseudo_labels, whole.pseudo_labels)
    np.testing.assert_allclose(found.log_r, whole.log_r, atol=1e-4)
    assert found.objective == pytest.approx(whole.objective, rel=1e-5)
    assert found.num_iters == whole.num_iters


def test_heads_may_share_features_that_are_placed_once():
    rows, kernel, bias = small()
    placed = transport.place(rows, 20)
    for head in range(2):
        other = np.roll(kernel, head, axis=0)
        alone = balanced_labels(rows, other, bias, power=5.0)
        found = balanced_labels(placed, other, bias, power=5.0)
        np.testing.assert_array_equal(found.pseudo_labels, alone.pseudo_labels)


def test_a_cluster_that_no_image_likes_gets_its_share():
    rows = mixture(600, 8)
    kernel, bias = untrained(8, 6)
    bias[2] -= 40  # p^25 is e^-1000, below float64
    result = balanced_labels(rows, kernel, bias, power=25.0)
    assert result.marginal_error <= 0.01
    counts = np.bincount(result.pseudo_labels, minlength=6)
    assert abs(counts[2] - 100) <= 10
    assert result.log_r.argmax() == 2


def test_a_start_at_the_answer_ends_at_the_first_look():
    rows, kernel, bias = small()
    cold = balanced_labels(rows, kernel, bias, power=10.0)
    warm = balanced_labels(
        rows, kernel, bias, power=10.0, initial_log_r=cold.log_r + 3
    )
    assert cold.num_iters > warm.num_iters == 10
    assert np.mean(warm.pseudo_labels == cold.pseudo_labels) >= 0.999


def test_max_iters_ends_passes_and_the_error_is_reported():
    rows, kernel, bias = small()
    result = balanced_labels(rows, kernel, bias, power=25.0, max_iters=2)
    assert result.num_iters == 2
    assert result.marginal_error > 0.01


def test_equal_images_share_all_clusters_in_soft_mass():
    rows = np.ones([40, 3], np.float32)
    result = balanced_labels(rows, np.float32(np.eye(3)[:, :2]), power=10.0)
    assert result.marginal_error < 1e-6
    np.testing.assert_allclose(result.log_r, 0, atol=1e-6)


REPLICAS = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.ops.test_transport import small
from tfclust.ops.transport import balanced_labels
rows, kernel, bias = small()
one = balanced_labels(rows, kernel, bias, power=10.0)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for cache_bytes in (0, 2**30):
    two = balanced_labels(
        rows, kernel, bias, power=10.0, strategy=strategy, block_rows=90,
        cache_bytes=cache_bytes)
    np.testing.assert_array_equal(one.pseudo_labels, two.pseudo_labels)
    np.testing.assert_allclose(one.log_r, two.log_r, atol=1e-4)
    np.testing.assert_allclose(one.objective, two.objective, rtol=1e-5)
    assert one.num_iters == two.num_iters
print("equal")
"""


@pytest.mark.slow
def test_two_replicas_equal_one():
    output = run_in_subprocess(REPLICAS)
    assert output.strip().endswith("equal")


@pytest.mark.parametrize(
    "changed, expected",
    [
        ({"features": np.zeros(5)}, r"\[N, d\].*Received: shape \(5,\)"),
        ({"features": np.full([5, 3], np.nan)}, "must be finite"),
        ({"features": np.zeros([5, 2])}, "width 2, kernel of 3 rows"),
        ({"kernel": np.zeros(4)}, r"kernel must be \[d, K\]"),
        ({"bias": np.zeros(3)}, r"bias must be \[K\] = \[4\]"),
        ({"power": 0.0}, "power must be a float above 0.*power=0.0"),
        ({"tolerance": -1.0}, "tolerance must be.*tolerance=-1.0"),
        ({"max_iters": 0}, "max_iters must be.*max_iters=0"),
        ({"cache_bytes": -1}, "cache_bytes must be.*cache_bytes=-1"),
        ({"block_rows": 0}, "block_rows must be.*block_rows=0"),
        ({"initial_log_r": np.zeros(3)}, r"\[K\] = \[4\] finite numbers"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(changed, expected):
    arguments = {
        "features": np.zeros([5, 3]),
        "kernel": np.zeros([3, 4]),
        "power": 10.0,
        **changed,
    }
    with pytest.raises(ValueError, match=expected):
        balanced_labels(**arguments)
