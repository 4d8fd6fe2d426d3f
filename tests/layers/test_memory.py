"""Memories by row, and the queue."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.processes import run_in_subprocess
from tfclust.layers import memories
from tfclust.layers.queue import FeatureQueue


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_last_occurrence_matches_a_loop(index):
    expected = [
        max(j for j, other in enumerate(index) if other == value)
        for value in index
    ]
    got = memories.last_occurrence(tf.constant(index, tf.int64))
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_last_of_equal_rows_wins_on_the_device(compiled):
    rows = memories.RowMemory(4, 2, name="rows")
    write = tf.function(rows.write, jit_compile=compiled)
    write(
        tf.constant([2, 0, 2], tf.int64), tf.constant([[1, 2], [3, 4], [5, 6]])
    )
    expected = [[3, 4], [-1, -1], [5, 6], [-1, -1]]
    np.testing.assert_array_equal(rows.rows, expected)


def test_the_last_of_equal_rows_wins_on_the_host():
    rows = memories.HostMemory((4, 1), np.float32)
    rows.write(np.array([2, 0, 2]), np.array([[1.0], [3.0], [5.0]]))
    np.testing.assert_array_equal(rows.array[:, 0], [3, 0, 5, 0])


def test_queue_keeps_newest_rows_when_the_batch_wraps():
    queue = FeatureQueue(4, 1, name="queue")
    for first in (1.0, 3.0, 5.0):
        queue.push(tf.constant([[first], [first + 1]]), when=True)
    np.testing.assert_array_equal(queue.features[:, 0], [5, 6, 3, 4])
    assert bool(queue.is_full())


def test_queue_of_zero_rows_is_not_taken_for_empty():
    queue = FeatureQueue(2, 1, name="queue")
    queue.push(tf.zeros([2, 1]), when=True)
    assert bool(queue.is_full())


def test_queue_waits_until_it_may_fill():
    queue = FeatureQueue(2, 1, name="queue")
    queue.push(tf.ones([2, 1]), when=tf.constant(False))
    assert int(queue.filled) == 0
    np.testing.assert_array_equal(queue.features, np.zeros([2, 1]))


def test_a_bank_knows_which_images_were_written_since_it_was_asked():
    bank = memories.ProjectionBank(5, 2, 3)
    bank.fill(np.ones([5, 2, 3]))
    np.testing.assert_array_equal(bank.take_visited(), np.arange(5))
    rows = np.arange(12.0).reshape(2, 2, 3)
    bank.write(np.array([4, 1]), rows)
    visited = bank.take_visited()
    np.testing.assert_array_equal(visited, [1, 4])
    for head in (1, 3):
        np.testing.assert_array_equal(
            bank.of_view(visited, head), rows[::-1, 1]
        )
    assert not bank.visited.array.any()


def test_rows_written_from_the_host_reach_every_replica():
    code = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfclust.layers import memories as memory
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    rows = memory.RowMemory(5, 1, name="rows")
rows.write_from_host(np.array([3, 1]), np.array([[7], [8]]))
found = strategy.run(tf.function(lambda: rows.read(tf.range(5))[:, 0]))
for copy in strategy.experimental_local_results(found):
    print(copy.numpy().tolist())
"""
    lines = run_in_subprocess(code).splitlines()
    assert lines == ["[-1, 8, -1, 7, -1]"] * 2


def test_rows_are_written_from_the_host_without_a_strategy():
    rows = memories.RowMemory(4, 2, name="rows")
    rows.write_from_host(np.array([2]), np.array([[5, 6]], np.int64))
    rows.write_from_host(np.zeros(0, np.int64), np.zeros([0, 2]))
    np.testing.assert_array_equal(rows.rows[2], [5, 6])
    np.testing.assert_array_equal(rows.rows[0], [-1, -1])
