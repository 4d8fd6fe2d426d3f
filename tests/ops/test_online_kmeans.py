"""Online k-means against plain loops, and its own promises."""

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from tests.support import oracles_online as oracles
from tests.support.processes import run_in_subprocess
from tfclust.layers.memories import VoteMemory
from tfclust.layers.online_clusters import OnlineClusters
from tfclust.ops import online_kmeans as ops

WIDTH, CLUSTERS, BATCH = 5, 7, 24


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def uneven_rows(num_rows=512, width=4, seed=0):
    """Unit rows around four sources, of which one has more than half."""
    generator = np.random.default_rng(seed)
    sources = generator.normal(size=(4, width))
    chosen = generator.choice(4, num_rows, p=[0.55, 0.25, 0.15, 0.05])
    return unit(sources[chosen] + 0.25 * generator.normal(size=(num_rows, 4)))


def pair(seed, **knobs):
    """A layer and the loops, from one start."""
    keras.utils.set_random_seed(seed)
    layer = OnlineClusters(WIDTH, CLUSTERS, name="clusters")
    return layer, oracles.Clusters(layer.last.numpy(), **knobs)


def assert_same(layer, loops):
    for name in ("last", "current", "duals"):
        np.testing.assert_allclose(
            getattr(layer, name), getattr(loops, name), atol=1e-5, err_msg=name
        )
    np.testing.assert_array_equal(layer.counts, loops.counts)


@settings(max_examples=15, deadline=None)  # the first examples compile
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.sampled_from([0.0, 0.02]),
)
def test_batches_and_epochs_match_numpy_loops(seed, min_share, dual_step):
    knobs = {"dual_step": dual_step, "min_share": min_share}
    layer, loops = pair(seed, **knobs)
    generator = np.random.default_rng(seed)
    # Two epochs alone, then two in the mean of the second stage.
    for averaged in (0, 0, 1, 2):
        stage = averaged > 0
        for _ in range(3):
            rows = generator.normal(size=(BATCH, WIDTH)) / 2
            labels = loops.assign(rows, second_stage=stage, gap=-1)
            found = layer.assign(np.float32(rows), averaged=stage).numpy()
            scores = rows @ (loops.last if stage else loops.current)
            scores += loops.duals
            ordered = np.sort(scores, axis=1)
            clear = ordered[:, -1] - ordered[:, -2] > 1e-5
            np.testing.assert_array_equal(found[clear], labels[clear])
            layer.update(
                tf.constant(rows, tf.float32),
                tf.constant(labels, tf.int32),
                averaged=tf.constant(stage),
                **knobs,
            )
            loops.update(rows, labels, second_stage=stage)
            assert_same(layer, loops)
        layer.next_epoch(averaged)
        loops.next_epoch(1 / averaged if stage else None)
        assert_same(layer, loops)


def test_first_rows_of_an_epoch_overwrite_a_centroid():
    means = ops.RunningMeans(tf.eye(3), tf.constant([0, 0, 5], tf.int64))
    rows = np.float32([[0, 0.6, 0.8], [0, 1, 0], [0, 0, -1]])
    labels = np.int32([0, 0, 2])
    moved = ops.move_centroids(means, rows, labels, normalised=False)
    np.testing.assert_allclose(moved.centroids[:, 0], [0, 0.8, 0.4])
    np.testing.assert_allclose(moved.centroids[:, 2], [0, 0, 4 / 6])
    np.testing.assert_array_equal(moved.counts, [2, 0, 6])


def test_untouched_centroids_keep_every_bit():
    start = np.float32([[0.3, 1.7], [0.1, 0.9]])  # not of unit length
    means = ops.RunningMeans(start, tf.constant([3, 3], tf.int64))
    rows, labels = np.float32([[1, 0]]), np.int32([0])
    moved = ops.move_centroids(means, rows, labels, normalised=True)
    np.testing.assert_array_equal(moved.centroids[:, 1], start[:, 1])
    np.testing.assert_allclose(np.linalg.norm(moved.centroids[:, 0]), 1)


def test_duals_are_clipped_only_below_a_share_of_one():
    labels = np.zeros(10, np.int32)

    def moved(min_share):
        return ops.move_duals(
            np.zeros(2, "f4"), labels, dual_step=0.02, min_share=min_share
        )

    np.testing.assert_allclose(moved(1.0), [-0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(moved(0.4), [0.0, 0.04], rtol=1e-6)
    np.testing.assert_allclose(moved(0.0), [0.0, 0.0])


def test_step_of_the_duals_does_not_hang_on_the_batch():
    labels = np.int32([0] * 6 + [1] * 2)
    knobs = {"dual_step": 0.02, "min_share": 1.0}
    whole = ops.move_duals(np.zeros(2, "f4"), labels, **knobs)
    first = ops.move_duals(np.zeros(2, "f4"), labels[:4], **knobs)
    both = ops.move_duals(first, labels[4:], **knobs)
    np.testing.assert_allclose(whole, both, atol=1e-7)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_votes_match_numpy_loops(seed):
    generator = np.random.default_rng(seed)
    votes = ops.Votes(-tf.ones([6, 5], tf.int32), tf.zeros([6, 5]))
    loops = [[] for _ in range(6)]
    for epoch in range(12):
        # Shares of all lengths: no two weights are equal but by rounding.
        share = 1.0 if epoch == 0 else generator.uniform(0.1, 0.4)
        labels = generator.integers(0, 9, 6)
        votes = ops.add_vote(votes, np.int32(labels), np.float32(share))
        loops = [
            oracles.add_vote(own, label, share)
            for own, label in zip(loops, labels, strict=True)
        ]
        found = ops.soft_labels(votes.clusters, ops.vote_shares(votes), 9)
        expected = [oracles.soft_label(own, 9) for own in loops]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        # The vote of an evicted cluster is the others', not lost.
        np.testing.assert_allclose(
            tf.reduce_sum(votes.weights, axis=-1), 1, atol=1e-5
        )


def test_votes_are_counts_over_epochs_while_places_last():
    memory = VoteMemory(3, 1, 5, name="votes")
    index = tf.constant([2])
    for epoch, label in enumerate([4, 6, 4, 4]):
        memory.add(index, np.int32([[label]]), epoch, when=True)
    votes = memory.read(index)
    np.testing.assert_array_equal(votes.clusters[0, 0, :2], [4, 6])
    np.testing.assert_allclose(votes.weights[0, 0, :2], [3 / 4, 1 / 4])
    memory.add(index, np.int32([[5]]), 4, when=False)
    np.testing.assert_array_equal(memory.read(index).clusters, votes.clusters)


def test_image_without_votes_has_its_hard_label():
    memory = VoteMemory(2, 1, 5, name="votes")
    memory.add(tf.constant([1]), np.int32([[3]]), 0, when=True)
    hard = tf.constant([[[6]], [[6]]])
    clusters, shares = memory.read_or(hard, tf.constant([0, 1]))
    labels = ops.soft_labels(clusters[:, 0], shares[:, 0], 8)
    np.testing.assert_allclose(labels, np.eye(8)[[6, 3]])


@pytest.mark.parametrize("seed", [0, 1])
def test_loops_keep_the_least_size_and_k_means_alone_does_not(seed):
    rows = uneven_rows(seed=seed)
    start = np.random.default_rng(7).normal(size=(4, 8))
    start /= np.linalg.norm(start, axis=0)

    def sizes(min_share):
        labels = oracles.cluster_epochs(
            rows, start, batch=32, epochs=20, dual_step=0.02,
            min_share=min_share,
        )  # fmt: skip
        return np.bincount(labels, minlength=8)

    # Duals swing: the least size is met to a quarter.
    for min_share in (1.0, 0.8, 0.4):
        assert sizes(min_share).min() >= 0.7 * min_share * 512 / 8
    assert sizes(0.0).min() == 0
    assert sizes(1.0).max() < sizes(0.4).max() <= sizes(0.0).max()


REPLICAS = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import keras
import numpy as np
import tensorflow as tf
from tfclust.layers.online_clusters import OnlineClusters
from tfclust.runtime import replicas

cpu = tf.config.list_physical_devices("CPU")[0]
logical = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, logical)
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
rows = np.random.default_rng(0).normal(size=(3, 16, 5)).astype("f4")

def states(strategy):
    count = strategy.num_replicas_in_sync
    keras.utils.set_random_seed(1)
    with strategy.scope():
        layer = OnlineClusters(5, 7, name="clusters")

    @tf.function
    def step(own):
        batch = replicas.all_gather(own)
        stage = tf.constant(False)
        labels = layer.assign(batch, stage)
        layer.update(batch, labels, stage, dual_step=0.02, min_share=0.4)

    for batch in rows:
        parts = np.split(batch, count)
        own = strategy.experimental_distribute_values_from_function(
            lambda c: tf.constant(parts[c.replica_id_in_sync_group]))
        strategy.run(step, args=(own,))
    return [v.numpy() for v in layer.variables]

for a, b in zip(states(tf.distribute.get_strategy()), states(two)):
    assert np.array_equal(a, b), (a, b)
print("same")
"""


def test_clusters_of_two_replicas_equal_those_of_one_to_the_bit():
    assert run_in_subprocess(REPLICAS).strip() == "same"
