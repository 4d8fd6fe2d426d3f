"""PCA whitening against scikit-learn."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from tfclust.ops import whitening
from tfclust.ops.whitening import fit_whitening, whiten


def correlated(num_rows=500, width=20, seed=0):
    generator = np.random.default_rng(seed)
    mix = generator.normal(size=(width, width)) * np.linspace(0.1, 3, width)
    rows = generator.normal(size=(num_rows, width)) @ mix + 5
    return rows.astype(np.float32)


@pytest.mark.parametrize("width", [1, 7, 20])
def test_equals_scikit_learn_but_for_signs_within_1e_4(width):
    rows = correlated()
    found = whiten(fit_whitening(rows, width), rows)
    expected = PCA(width, whiten=True, svd_solver="full").fit_transform(
        rows.astype(np.float64)
    )
    signs = np.sign((found * expected).sum(axis=0))
    # Whitened values are about 1; the last directions have a thousandth of
    # the first one's variance and float32 rounding grows thirtyfold.
    np.testing.assert_allclose(found * signs, expected, atol=1e-4)


def test_columns_have_variance_1_and_do_not_correlate():
    found = whiten(fit_whitening(correlated(), 10), correlated())
    np.testing.assert_allclose(np.cov(found.T), np.eye(10), atol=1e-4)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)


def test_the_size_of_blocks_changes_nothing():
    rows = correlated()
    whole = fit_whitening(rows, 8)
    blocks = fit_whitening(rows, 8, block_rows=7)
    np.testing.assert_allclose(blocks.components, whole.components, atol=1e-6)
    np.testing.assert_allclose(
        whiten(whole, rows, block_rows=7), whiten(whole, rows), atol=1e-6
    )


def test_a_large_mean_does_not_drown_the_variance():
    rows = correlated() + 1_000
    shifted = whiten(fit_whitening(rows, 5), rows)
    plain = whiten(fit_whitening(correlated(), 5), correlated())
    signs = np.sign((shifted * plain).sum(axis=0))
    # 1,000 in float32 leaves steps of 6e-5 in values of about 1.
    np.testing.assert_allclose(shifted * signs, plain, atol=1e-3)


def test_directions_without_variance_become_zeros():
    rows = correlated(width=6)
    rows = np.concatenate([rows, rows[:, :2], np.ones_like(rows[:, :1])], 1)
    found = fit_whitening(rows, 9)
    norms = np.linalg.norm(found.components, axis=0)
    assert (norms[:6] > 0).all()
    np.testing.assert_array_equal(norms[6:], 0)
    flat = fit_whitening(np.ones([5, 3], np.float32), 2)
    np.testing.assert_array_equal(flat.components, 0)


def test_signs_are_settled():
    components = fit_whitening(correlated(), 6).components
    largest = np.argmax(np.abs(components), axis=0)
    assert (components[largest, np.arange(6)] > 0).all()


@pytest.mark.parametrize(
    ("rows", "width", "message"),
    [
        (np.zeros([9, 4]), 5, "9 rows of 4 values.*at most 4.*width=5"),
        (np.zeros([3, 4]), 3, "3 rows of 4 values.*at most 2.*width=3"),
        (np.zeros([3, 4, 2]), 2, r"\[N, D\].*\(3, 4, 2\)"),
        (np.full([9, 4], np.nan), 2, "rows must be finite"),
    ],
)
def test_wrong_arguments_are_named(rows, width, message):
    with pytest.raises(ValueError, match=message):
        whitening.fit_whitening(rows, width)
