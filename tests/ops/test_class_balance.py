"""Orders and weights that make clusters count alike."""

import numpy as np
import pytest

from tfclust.ops.class_balance import balanced_order, inverse_frequencies

# Clusters 0, 1, 2, 4 of 100, 30, 7 and 3 images; 3 is empty; 10 unlabelled.
LABELS = np.repeat([0, 1, 2, 4, -1], [100, 30, 7, 3, 10])


def test_every_cluster_comes_equally_often():
    order = balanced_order(LABELS, seed=(0, 1))
    assert order.shape == (150,) and order.dtype == np.int64
    counts = np.bincount(LABELS[order], minlength=5)
    assert counts[3] == 0
    # floor(150 / 4) + 1 = 38 draws of each; the cut takes 2 of 152 away.
    assert counts.sum() == 150
    assert np.isin(counts[[0, 1, 2, 4]], [36, 37, 38]).all()


def test_unlabelled_images_never_come():
    order = balanced_order(LABELS, seed=3)
    assert (LABELS[order] >= 0).all()


def test_only_small_clusters_repeat_images():
    order = balanced_order(LABELS, seed=3)
    times = np.bincount(order, minlength=150)
    assert times[:100].max() == 1
    assert times[137:140].sum() >= 36


def test_the_seed_decides_the_order():
    first = balanced_order(LABELS, seed=(1, 2))
    np.testing.assert_array_equal(first, balanced_order(LABELS, seed=(1, 2)))
    assert not np.array_equal(first, balanced_order(LABELS, seed=(1, 3)))
    assert not np.array_equal(np.sort(first), first)


def test_one_cluster_gives_every_image_once():
    order = balanced_order(np.zeros(50, np.int32), seed=0)
    # floor(50 / 1) + 1 = 51 draws of 50 images: with repeats, as published.
    assert len(order) == 50


def test_no_label_at_all_is_refused():
    with pytest.raises(ValueError, match="none of 5 images"):
        balanced_order(np.full(5, -1), seed=0)


def test_weights_of_a_cluster_sum_to_the_same():
    counts = np.bincount(LABELS[LABELS >= 0], minlength=5)
    weights = inverse_frequencies(counts)
    filled = [0, 1, 2, 4]
    np.testing.assert_allclose((weights * counts)[filled], 35, rtol=1e-6)
    assert weights[3] == 0
    assert (weights * counts).sum() == pytest.approx(140)
