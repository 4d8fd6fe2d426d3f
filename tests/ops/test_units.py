"""Vectors at unit length."""

import keras
import numpy as np
import tensorflow as tf

from tfclust.ops.units import unit_rows, unit_vectors

ROWS = np.float32([[3, 4], [0, 0], [0, -2]])
UNITS = [[0.6, 0.8], [0, 0], [0, -1]]


def test_unit_rows_keep_a_zero_row():
    np.testing.assert_allclose(unit_rows(ROWS), UNITS, atol=1e-7)
    assert unit_rows(ROWS).dtype == np.float32


def test_another_row_takes_the_place_of_a_zero_row():
    found = unit_rows(ROWS, otherwise=np.full([3, 2], 7.0))
    np.testing.assert_allclose(found, [[0.6, 0.8], [7, 7], [0, -1]], atol=1e-7)


def test_unit_vectors_along_either_axis_keep_a_zero_vector():
    np.testing.assert_allclose(unit_vectors(ROWS), UNITS, atol=1e-6)
    found = unit_vectors(ROWS.T, axis=0)
    np.testing.assert_allclose(found, np.transpose(UNITS), atol=1e-6)


def test_unit_vectors_have_the_bits_of_keras_and_a_gradient_at_zero():
    rows = tf.constant(np.random.default_rng(0).normal(size=(64, 8)), "float32")
    theirs = keras.ops.normalize(rows, axis=-1, order=2, epsilon=1e-12)
    np.testing.assert_array_equal(unit_vectors(rows), theirs)
    zeros = tf.zeros([1, 8])
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        total = tf.reduce_sum(unit_vectors(zeros))
    assert np.isfinite(tape.gradient(total, zeros)).all()
