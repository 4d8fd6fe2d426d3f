"""R-MAC, GeM, SPoC and whitening against plain NumPy."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from tfclust.retrieval import pooling, whitening

RNG = np.random.default_rng(5)


def oracle_windows(height, width):
    """The windows by the formulas of R-MAC's published evaluation."""
    w = min(height, width)
    best, extra = None, 0
    for index, steps in enumerate(range(2, 8), 1):
        b = (max(height, width) - w) / (steps - 1)
        off = abs((w * w - w * b) / (w * w) - 0.4)
        if best is None or off < best - 1e-12:
            best, extra = off, index
    down = extra if height > width else 0
    right = extra if width > height else 0
    found = []
    for level in (1, 2, 3):
        side = int(np.floor(2 * w / (level + 1)))
        if not side:
            continue
        for i in range(level + down):
            for j in range(level + right):
                n, m = level + down - 1, level + right - 1
                top = int(np.floor(i * (height - side) / n)) if n else 0
                left = int(np.floor(j * (width - side) / m)) if m else 0
                found.append((top, left, side))
    return found


@pytest.mark.parametrize(
    "height, width",
    [(32, 24), (24, 32), (17, 17), (7, 30), (30, 7), (3, 2), (1, 1), (1, 9)],
)
def test_rmac_windows_equal_the_oracle(height, width):
    assert pooling.windows(height, width) == oracle_windows(height, width)


def test_windows_lie_on_the_map_and_reach_its_ends():
    for height in range(1, 20):
        for width in range(1, 20):
            found = np.array(pooling.windows(height, width))
            assert (found[:, :2].min(axis=0) == 0).all()
            ends = found[:, :2] + found[:, 2:]
            assert tuple(ends.max(axis=0)) == (height, width)


def oracle_descriptor(feature_map, mean=None, components=None):
    """R-MAC by loops over windows, channels and pixels."""
    total = 0
    for top, left, side in oracle_windows(*feature_map.shape[:2]):
        region = np.full(feature_map.shape[2], -np.inf)
        for y in range(top, top + side):
            for x in range(left, left + side):
                region = np.maximum(region, feature_map[y, x])
        region = region / np.linalg.norm(region)
        if mean is not None:
            region = (region - mean) @ components
            region = region / np.linalg.norm(region)
        total = total + region
    return total / np.linalg.norm(total)


@pytest.mark.parametrize("whiten", [False, True])
def test_rmac_equals_loops_over_pixels(whiten):
    feature_map = RNG.gamma(1.0, size=(9, 13, 6))
    mean, components = RNG.normal(size=6), RNG.normal(size=(6, 4))
    learnt = whitening.Whitening(mean, components) if whiten else None
    found = pooling.descriptor(pooling.rmac(feature_map), learnt)
    known = (mean, components) if whiten else ()
    expected = oracle_descriptor(feature_map, *known)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_gem_and_spoc_equal_their_formulas():
    feature_map = RNG.normal(size=(5, 4, 3))
    (gem,) = pooling.gem(feature_map)
    (spoc,) = pooling.spoc(feature_map)
    for channel in range(3):
        values = [
            feature_map[y, x, channel] for y in range(5) for x in range(4)
        ]
        cubes = [max(value, 1e-6) ** 3 for value in values]
        assert gem[channel] == pytest.approx((sum(cubes) / 20) ** (1 / 3))
        assert spoc[channel] == pytest.approx(sum(values))


def test_whitening_equals_scikit_learns_whatever_the_blocks():
    rows = RNG.normal(size=(200, 7)) @ RNG.normal(size=(7, 7)) + 3
    learner = whitening.Learner()
    for block in np.array_split(rows, 9):
        learner.add(block)
    found = learner.finish(4).apply(rows)
    expected = PCA(4, whiten=True, svd_solver="full").fit_transform(rows)
    expected *= np.sqrt(200 / 199)  # it divides by N - 1
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-8)


def test_directions_without_variance_are_not_blown_up():
    rows = np.zeros([50, 3])
    rows[:, 0] = RNG.normal(size=50)
    learner = whitening.Learner()
    learner.add(rows)
    largest = np.abs(learner.finish(3).components).max(axis=0)
    # The floor is 1e-5 of the first eigenvalue.
    assert largest[1] / largest[0] == pytest.approx(1e5**0.5)


def test_whitening_refuses_what_it_cannot_learn_from():
    learner = whitening.Learner()
    with pytest.raises(ValueError, match="two vectors or more"):
        learner.finish(3)
    learner.add(np.ones([4, 3]))
    with pytest.raises(ValueError, match="vectors that differ"):
        learner.finish(3)
