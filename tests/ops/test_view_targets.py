"""Targets of views: the label, and the other large views."""

import numpy as np
import tensorflow as tf

from tfclust.ops.view_targets import mean_over_views, mixed_targets

LABEL = np.float32([[1, 0]])
LARGE = np.float32([[[0.9, 0.1]], [[0.3, 0.7]]])
SMALL = np.float32([[[0.5, 0.5]]])


def test_two_views_swap_their_predictions():
    targets = mixed_targets(LABEL, np.log(LARGE), num_large=2, label_weight=0.2)
    np.testing.assert_allclose(targets[0], [[0.2 + 0.8 * 0.3, 0.8 * 0.7]])
    np.testing.assert_allclose(targets[1], [[0.2 + 0.8 * 0.9, 0.8 * 0.1]])


def test_small_crops_predict_the_mean_of_large_views_and_are_no_target():
    views = np.log(np.concatenate([LARGE, SMALL]))
    targets = mixed_targets(LABEL, views, num_large=2, label_weight=0.2)
    np.testing.assert_allclose(targets[2], [[0.2 + 0.8 * 0.6, 0.8 * 0.4]])
    alone = mixed_targets(LABEL, views[:2], num_large=2, label_weight=0.2)
    np.testing.assert_array_equal(targets[:2], alone)


def test_a_single_view_takes_the_label_alone():
    views = np.log(LARGE[:1])
    targets = mixed_targets(LABEL, views, num_large=1, label_weight=0.2)
    np.testing.assert_array_equal(targets, [LABEL])


def test_targets_are_constants_for_gradients():
    views = tf.Variable(np.log(LARGE))
    with tf.GradientTape() as tape:
        targets = mixed_targets(LABEL, views, num_large=2, label_weight=0.2)
        total = tf.reduce_sum(targets)
    assert tape.gradient(total, views) is None


def test_small_crops_share_their_weight():
    losses = np.float32([[1.0], [3.0], [5.0], [7.0], [9.0]])
    mean = mean_over_views(losses, num_large=2, small_weight=0.25)
    np.testing.assert_allclose(mean, [0.75 * 2 + 0.25 * 7])
    alone = mean_over_views(losses[:2], num_large=2, small_weight=0.25)
    np.testing.assert_allclose(alone, [2.0])
