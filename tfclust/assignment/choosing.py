"""How many clusters the features have: several numbers tried, one advised."""

from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from tfclust.ops.partitions import ami

_ROWS = 2_000  # what is tried takes seconds
_DIRECTIONS = 50
_RESTARTS = 2
_STEPS: tuple[int, ...] = (
    *(2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 25, 30, 35, 40, 50),
    *(60, 80, 100, 150, 200, 300),
)
_ALMOST = 0.95
_ROUNDING = 1e-5  # of unit features
_IMAGES_EACH = 10  # fewer in a cluster say little


class Tried(NamedTuple):
    """A number of clusters, and its figures.

    silhouette: from -1 to 1, how much nearer images are to their own cluster
    than to the next. by_chance: the same for points without groups, a normal
    distribution of the same spread in every direction. stability: AMI of the
    clusters that two halves of the images give to all of them; 1 if the halves
    agree, 0 by chance.
    """

    num_clusters: int
    silhouette: float
    by_chance: float
    stability: float


def tried(features, seed):
    """A list of `Tried`, for numbers that the images allow.

    Args:
      features: `UnitFeatures`. seed: int.

    Raises:
      ValueError: if there are too few images, or all are alike.
    """
    rows = features.take(features.sample(_ROWS))
    numbers = [k for k in _STEPS if k * _IMAGES_EACH <= len(rows)]
    if len(numbers) < 2:
        raise ValueError(
            "num_clusters=auto needs at least "
            f"{_STEPS[1] * _IMAGES_EACH} images. Received: {len(rows)}. Give a "
            "number."
        )
    if np.ptp(rows, axis=0).max() < _ROUNDING:
        raise ValueError(
            "num_clusters=auto found no two images that differ. Look at the "
            "images, or give a number."
        )
    # More clusters than images that differ would stay empty.
    numbers = [k for k in numbers if k <= max(2, _distinct(rows))]
    width = min(_DIRECTIONS, *rows.shape)
    rows = PCA(width, random_state=0).fit_transform(rows)
    random = np.random.default_rng(seed)
    # The principal directions are uncorrelated.
    noise = random.normal(size=rows.shape) * rows.std(axis=0)
    order = random.permutation(len(rows))
    halves = order[::2], order[1::2]
    # Two thousand rows are too few to share; threads would wait for others.
    with threadpool_limits(1):
        return [_try(rows, noise, halves, number, seed) for number in numbers]


def advised(found):
    """The number of clusters to take of a list of `Tried`.

    The smallest whose silhouette is almost as far above chance as the best.
    The silhouette alone prefers two on images that nothing separates well.
    """
    enough = _ALMOST * max(map(_gain, found))
    good = [one for one in found if _gain(one) >= enough]
    return (good or found)[0].num_clusters


def in_words(found):
    """Lines of a table, and a sentence with the number that is taken."""
    best = advised(found)
    most = max(max(map(_gain, found)), 1e-6)
    yield "clusters  silhouette  by chance  stability"
    for one in found:
        bar = "#" * max(0, round(20 * _gain(one) / most))
        mark = "  <- taken" if one.num_clusters == best else ""
        yield (
            f"{one.num_clusters:8}  {one.silhouette:10.3f}  "
            f"{one.by_chance:9.3f}  {one.stability:9.3f}  {bar}{mark}"
        )


def _gain(one):
    return one.silhouette - one.by_chance


def _distinct(rows):
    """How many rows differ by more than rounding."""
    return len(np.unique(np.round(rows / _ROUNDING), axis=0))


def _try(rows, noise, halves, number, seed):
    of_halves = [
        _kmeans(rows[half], min(number, _distinct(rows[half])), seed).predict(
            rows
        )
        for half in halves
    ]
    return Tried(
        number,
        _silhouette(rows, number, seed),
        _silhouette(noise, number, seed),
        ami(*of_halves),
    )


def _silhouette(rows, number, seed):
    labels = _kmeans(rows, number, seed).labels_
    return float(silhouette_score(rows, labels))


def _kmeans(rows, number, seed):
    # Not the house's: TensorFlow would trace each number of clusters anew.
    return KMeans(number, n_init=_RESTARTS, random_state=seed).fit(rows)
