"""The order of an epoch and the numbers of a view, by key alone."""

import numpy as np
import pytest
import tensorflow as tf

from tfclust.data.views import sampling


def uniform(first_row, num_rows, step=3, key=5):
    return sampling.keyed_uniform(
        key,
        tf.constant(step, tf.int64),
        tf.constant(first_row, tf.int64),
        num_rows=num_rows,
        num_views=3,
        num_values=36,
    ).numpy()


def test_a_slice_of_the_batch_draws_what_the_whole_batch_draws_there():
    whole = uniform(0, 16)
    np.testing.assert_array_equal(uniform(5, 4), whole[5:9])


def test_numbers_differ_by_step_row_view_and_key():
    rows = uniform(0, 16)
    assert len(np.unique(rows.reshape(-1, 36), axis=0)) == 48
    assert (uniform(0, 16, step=4) != rows).mean() > 0.99
    assert (uniform(0, 16, key=6) != rows).mean() > 0.99


def test_numbers_are_uniform():
    rows = uniform(0, 2000)
    # 216,000 numbers: the mean's standard error is 0.0006.
    assert rows.mean() == pytest.approx(0.5, abs=0.003)
    assert rows.var() == pytest.approx(1 / 12, abs=0.003)
    assert rows.min() >= 0 and rows.max() < 1


def test_keys_are_the_same_in_every_process():
    # Python's own hash of a string is not; resumed runs rely on these.
    assert sampling.key_of(0, "views") == 0xEAD3CB8B41E54F87
    assert sampling.key_of(1, "views") != sampling.key_of(0, "views")
    assert sampling.key_of(0, "order") != sampling.key_of(0, "views")


@pytest.mark.parametrize("num_images", [1, 2, 7, 1797])
def test_an_epoch_shows_each_image_once(num_images):
    positions = tf.range(num_images, dtype=tf.int64)
    order = sampling.shuffled(positions, 0, 4, num_images).numpy()
    np.testing.assert_array_equal(np.sort(order), np.arange(num_images))


def test_orders_differ_by_epoch_and_seed():
    positions = tf.range(500, dtype=tf.int64)
    first = sampling.shuffled(positions, 0, 0, 500).numpy()
    for seed, epoch in ((0, 1), (1, 0)):
        other = sampling.shuffled(positions, seed, epoch, 500).numpy()
        assert (first != other).mean() > 0.9


def test_every_image_stands_at_the_front_equally_often():
    front = tf.constant([0], tf.int64)
    found = [int(sampling.shuffled(front, 0, e, 10)[0]) for e in range(1000)]
    counts = np.bincount(found, minlength=10)
    # 100 each expected, standard deviation 9.5.
    assert counts.min() > 60 and counts.max() < 140
