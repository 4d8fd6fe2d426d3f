"""In how many directions rows differ."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from tfclust.ops.rank import effective_rank


def test_it_is_the_entropy_of_scikit_learns_shares_of_variance():
    rows = np.random.default_rng(0).normal(size=(200, 12)) * np.arange(1, 13)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    shares = PCA().fit(units).explained_variance_ratio_
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert effective_rank(rows) == pytest.approx(expected, rel=1e-9)


def test_an_arc_has_few_directions_and_noise_has_all():
    angles = np.linspace(0, 0.2, 100)
    arc = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    assert effective_rank(arc) == pytest.approx(1.0, abs=0.05)
    noise = np.random.default_rng(0).normal(size=(20_000, 16))
    assert effective_rank(noise) == pytest.approx(16, rel=0.01)


@pytest.mark.parametrize("rows", [np.ones((5, 3)), np.zeros((4, 2)), [[1.0]]])
def test_equal_rows_have_none(rows):
    assert effective_rank(rows) == 0.0
