"""k-means against plain loops, scikit-learn, and itself over replicas."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from tests.support import oracles
from tests.support.processes import run_in_subprocess
from tfclust.ops import empty_clusters
from tfclust.ops.kmeans import kmeans, random_rows, spherical_kmeans


def blobs(num_rows=600, num_sources=12, width=6, seed=0):
    generator = np.random.default_rng(seed)
    sources = 2 * generator.normal(size=(num_sources, width))
    chosen = generator.integers(num_sources, size=num_rows)
    rows = sources[chosen] + generator.normal(size=(num_rows, width))
    return rows.astype(np.float32)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def scikit_learn(rows, start, num_iters):
    return KMeans(
        len(start), init=start, n_init=1, max_iter=num_iters, tol=0
    ).fit(rows)


@pytest.mark.parametrize("num_iters", [1, 4, 300])
def test_same_start_gives_the_inertia_of_scikit_learn(num_iters):
    rows = load_digits().data
    # Grey levels are whole numbers; a part of one undoes ties of distances.
    rows = np.float32(rows + np.random.default_rng(0).random(rows.shape))
    start = random_rows(rows, 10, seed=1)
    result = kmeans(rows, 10, num_iters=num_iters, initial_centroids=start)
    expected = scikit_learn(rows, start, num_iters)
    assert result.inertia == pytest.approx(expected.inertia_, rel=1e-4)
    np.testing.assert_array_equal(result.pseudo_labels, expected.labels_)
    np.testing.assert_allclose(
        result.centroids, expected.cluster_centers_, atol=1e-4
    )


def test_rows_far_from_the_origin_cluster_as_well():
    rows = blobs() + 3_000  # x.x is 5e7: float32 would lose distances of 1
    start = random_rows(rows, 12, seed=0)
    far = kmeans(rows, 12, num_iters=50, initial_centroids=start)
    expected = scikit_learn(rows, start, 50)
    assert far.inertia == pytest.approx(expected.inertia_, rel=1e-4)
    np.testing.assert_array_equal(far.pseudo_labels, expected.labels_)


@settings(max_examples=20, deadline=None)  # the first example compiles
@given(st.integers(0, 10_000))
def test_spherical_passes_equal_the_plain_loop(seed):
    rows = unit(np.random.default_rng(seed).normal(size=(60, 4)))
    start = unit(random_rows(rows, 7, seed=seed).astype(np.float64))
    result = spherical_kmeans(rows, 7, num_iters=5, seed=seed)
    centroids, labels = oracles.spherical_kmeans(rows, start, 5)
    np.testing.assert_array_equal(result.pseudo_labels, labels)
    np.testing.assert_allclose(result.centroids, centroids, atol=1e-6)
    squares = np.sum((rows - centroids[labels]) ** 2)
    assert result.inertia == pytest.approx(squares, rel=1e-5)


def test_spherical_centroids_are_unit_and_rows_need_not_be():
    rows = blobs()
    lengths = np.random.default_rng(0).uniform(0.1, 9, [len(rows), 1])
    start = random_rows(rows, 8, seed=2)
    for other in (rows, np.float32(rows * lengths)):
        result = spherical_kmeans(
            other, 8, num_iters=6, initial_centroids=start
        )
        norms = np.linalg.norm(result.centroids, axis=1)
        np.testing.assert_allclose(norms, 1, atol=1e-6)
        if other is rows:
            expected = result.pseudo_labels
    np.testing.assert_array_equal(result.pseudo_labels, expected)


@pytest.mark.parametrize("method", [kmeans, spherical_kmeans])
@pytest.mark.parametrize("block_rows", [1, 7, 599, 5_000])
def test_the_size_of_blocks_changes_nothing(method, block_rows):
    rows = blobs()
    whole = method(rows, 5, num_iters=3, seed=0)
    blocks = method(rows, 5, num_iters=3, seed=0, block_rows=block_rows)
    np.testing.assert_array_equal(blocks.pseudo_labels, whole.pseudo_labels)
    np.testing.assert_array_equal(blocks.counts, whole.counts)
    np.testing.assert_allclose(blocks.centroids, whole.centroids, atol=1e-5)
    assert blocks.inertia == pytest.approx(whole.inertia, rel=1e-5)


@pytest.mark.parametrize("method", [kmeans, spherical_kmeans])
def test_counts_labels_and_types_agree(method):
    result = method(tf.constant(blobs()), 9, num_iters=4, seed=(1, 2, 3))
    np.testing.assert_array_equal(
        result.counts, np.bincount(result.pseudo_labels, minlength=9)
    )
    assert result.pseudo_labels.dtype == np.int32
    assert result.centroids.dtype == np.float32
    assert result.centroids.shape == (9, 6)
    assert isinstance(result.inertia, float)
    assert 1 <= result.num_iters <= 4


def test_passes_end_when_nothing_moves():
    result = kmeans(blobs(60, 3), 3, num_iters=1_000, seed=0)
    assert result.num_iters < 50
    again = kmeans(
        blobs(60, 3), 3, num_iters=5, initial_centroids=result.centroids
    )
    assert again.inertia == pytest.approx(result.inertia, rel=1e-6)


def test_tolerance_ends_passes_earlier():
    rows = blobs(2_000, 30)
    exact = kmeans(rows, 20, num_iters=100, seed=0)
    rough = kmeans(rows, 20, num_iters=100, seed=0, tolerance=0.1)
    assert rough.num_iters < exact.num_iters
    assert rough.inertia == pytest.approx(exact.inertia, rel=0.1)


@pytest.mark.parametrize("method", [kmeans, spherical_kmeans])
def test_an_empty_cluster_keeps_its_centroid(method):
    rows = np.abs(blobs())
    start = np.concatenate([random_rows(rows, 3, seed=0), [[-50.0] * 6]])
    result = method(rows, 4, num_iters=5, initial_centroids=start)
    assert result.counts[3] == 0
    expected = start[3]
    if method is spherical_kmeans:
        expected = expected / np.linalg.norm(expected)
    np.testing.assert_allclose(result.centroids[3], expected, rtol=1e-5)


@pytest.mark.parametrize("empty", ["split", "copy"])
@pytest.mark.parametrize("method", [kmeans, spherical_kmeans])
def test_both_rules_fill_empty_clusters(method, empty):
    rows = np.abs(blobs())
    start = np.concatenate([random_rows(rows, 3, seed=0), [[-50.0] * 6] * 5])
    result = method(
        rows, 8, num_iters=20, initial_centroids=start, empty=empty, seed=0
    )
    assert result.counts.min() > 0


def test_a_split_parts_donor_and_heir_by_a_1024th_up_and_down():
    centroids = np.array([[4.0, 8.0, 16.0], [1.0, 1.0, 1.0]])
    counts = np.array([9, 0])
    split = empty_clusters.split_empty(
        centroids, counts, np.random.default_rng(0)
    )
    step = 1 / 1024
    np.testing.assert_array_equal(
        split[1], [4 * (1 + step), 8 * (1 - step), 16 * (1 + step)]
    )
    np.testing.assert_array_equal(
        split[0], [4 * (1 - step), 8 * (1 + step), 16 * (1 - step)]
    )
    np.testing.assert_array_equal(centroids[0], [4, 8, 16])


def test_a_copy_parts_donor_and_heir_by_1e_7_up_and_down():
    centroids = np.array([[0.5, 0.25, 0.125], [1.0, 1.0, 1.0]])
    copied = empty_clusters.copy_random(
        centroids, np.array([9, 0]), np.random.default_rng(0)
    )
    apart = np.array([1e-7, -1e-7, 1e-7])
    np.testing.assert_allclose(copied[1], centroids[0] + apart, rtol=1e-15)
    np.testing.assert_allclose(copied[0], centroids[0] - apart, rtol=1e-15)
    np.testing.assert_array_equal(centroids[0], [0.5, 0.25, 0.125])


def test_donors_of_copies_are_drawn_evenly_from_full_clusters():
    counts = np.array([61, 2, 39, 0])
    centroids = np.arange(1.0, 5.0)[:, None]
    donors = [
        round(
            empty_clusters.copy_random(
                centroids, counts, np.random.default_rng(seed)
            ).item(3)
        )
        for seed in range(2_000)
    ]
    shares = np.bincount(donors, minlength=4)[1:4] / 2_000
    # Three standard deviations of 2,000 draws.
    np.testing.assert_allclose(shares, 1 / 3, atol=0.032)


def test_donors_are_drawn_by_their_size():
    # Of 102 rows in four clusters: p is 60/98, 38/98, 0; the walk starts over.
    counts = np.array([61, 39, 2, 0])
    centroids = np.arange(1.0, 5.0)[:, None]
    donors = [
        round(
            empty_clusters.split_empty(
                centroids, counts, np.random.default_rng(seed)
            ).item(3)
        )
        for seed in range(2_000)
    ]
    shares = np.bincount(donors, minlength=4)[1:4] / 2_000
    first = 60 / 98
    second = (1 - first) * 38 / 98
    third = (1 - first) * (1 - 38 / 98) * 1 / 98
    expected = np.array([first, second, third])
    # Three standard deviations of 2,000 draws.
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.034)


def test_rows_that_cancel_keep_their_centroid():
    rows = np.float32([[1, 0], [-1, 0], [0, 1]])
    result = spherical_kmeans(
        rows, 1, num_iters=1, initial_centroids=[[0.6, 0.8]]
    )
    np.testing.assert_allclose(result.centroids, [[0, 1]], atol=1e-6)
    result = spherical_kmeans(
        rows[:2], 1, num_iters=3, initial_centroids=[[0.6, 0.8]]
    )
    np.testing.assert_allclose(result.centroids, [[0.6, 0.8]], atol=1e-6)


def test_as_many_clusters_as_rows_leave_no_distance():
    rows = blobs(20)
    assert kmeans(rows, 20, num_iters=3, seed=0).inertia < 1e-6
    assert kmeans(rows, 1, num_iters=3, seed=0).inertia == pytest.approx(
        float(np.sum((rows - rows.mean(axis=0)) ** 2)), rel=1e-5
    )


def test_random_rows_are_distinct_and_keyed_by_the_seed():
    rows = np.arange(40.0)[:, None]
    drawn = random_rows(rows, 40, seed=3)
    np.testing.assert_array_equal(np.sort(drawn, axis=0), rows)
    np.testing.assert_array_equal(drawn, random_rows(rows, 40, seed=(3,)))
    np.testing.assert_array_equal(
        drawn, random_rows(tf.constant(rows), 40, seed=3)
    )
    assert not np.array_equal(drawn, random_rows(rows, 40, seed=(3, 1)))


DETERMINISTIC = """
import hashlib
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import numpy as np
import tensorflow as tf
from tfclust.ops.kmeans import kmeans, spherical_kmeans
tf.config.experimental.enable_op_determinism()
rows = np.random.default_rng(0).normal(size=(3_000, 16)).astype(np.float32)
for method in (kmeans, spherical_kmeans):
    for empty in ("keep", "split"):
        result = method(
            rows, 50, num_iters=5, seed=0, empty=empty, block_rows=700
        )
        parts = [np.asarray(part).tobytes() for part in result]
        print(hashlib.sha256(b"".join(parts)).hexdigest())
"""


@pytest.mark.slow
def test_two_processes_give_the_same_bits_under_op_determinism():
    first = run_in_subprocess(DETERMINISTIC)
    assert first == run_in_subprocess(DETERMINISTIC, fresh=True)
    assert len(first.split()) == 4


REPLICAS = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import numpy as np
import tensorflow as tf
from tfclust.ops.kmeans import kmeans, spherical_kmeans

cpu = tf.config.list_physical_devices("CPU")[0]
logical = [tf.config.LogicalDeviceConfiguration()] * 3
tf.config.set_logical_device_configuration(cpu, logical)
strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(3)])
rows = np.random.default_rng(0).normal(size=(1_000, 8)).astype(np.float32)
for method in (kmeans, spherical_kmeans):
    one = method(rows, 20, num_iters=6, seed=0)
    with strategy.scope():
        scope = method(rows, 20, num_iters=6, seed=0)
    given = method(rows, 20, num_iters=6, seed=0, strategy=strategy)
    few = method(rows[:4], 4, num_iters=2, seed=0, strategy=strategy)
    assert few.inertia < 1e-6 and few.counts.sum() == 4
    for many in (scope, given):
        assert np.array_equal(many.pseudo_labels, one.pseudo_labels)
        assert np.array_equal(many.counts, one.counts)
        assert np.allclose(many.centroids, one.centroids, atol=1e-5)
        assert np.isclose(many.inertia, one.inertia, rtol=1e-6)
print("equal")
"""


def test_three_replicas_share_rows_and_find_what_one_finds():
    assert "equal" in run_in_subprocess(REPLICAS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_clusters": 0}, "at least 1. Received: num_clusters=0"),
        ({"num_clusters": 700}, "600 rows cannot fill 700 clusters.*to 600"),
        ({"num_iters": 0}, "num_iters must be.*Received: num_iters=0"),
        ({"empty": "drop"}, "'keep', 'split' or 'copy'. Received: 'drop'"),
        ({"seed": None}, "seed must be an int.*initial_centroids"),
        ({"tolerance": -1}, "tolerance must be.*tolerance=-1"),
        (
            {"initial_centroids": np.zeros([3, 6])},
            r"Expected: \(4, 6\). Received: \(3, 6\)",
        ),
        ({"rows": np.zeros([600, 2, 3])}, r"\[N, D\].*\(600, 2, 3\)"),
        ({"rows": np.full([600, 6], np.nan)}, "rows must be finite"),
        ({"block_rows": 0}, "block_rows must be.*block_rows=0"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"rows": blobs(), "num_clusters": 4, "num_iters": 2, "seed": 0}
    with pytest.raises(ValueError, match=message):
        kmeans(**{**arguments, **change})
