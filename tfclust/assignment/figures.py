"""How each image lies among clusters: distance, second choice, outlier."""

from typing import NamedTuple

import numpy as np

from tfclust.assignment.groups import unit

# For a normal distribution, 1.4826 times the median of absolute deviations is
# the standard deviation. Three of them above the median: one image in 700.
_DEVIATIONS, _TO_DEVIATION = 3.0, 1.4826
# Of fewer images the spread is not known; all clusters' is taken.
_ENOUGH = 20


class Figures(NamedTuple):
    """distance float32 `[n]`; second int32 `[n]`, -1 for none; outlier bool
    `[n]`; reach float32 `[K]`, the distance from which on an image is one."""

    distance: np.ndarray
    second: np.ndarray
    outlier: np.ndarray
    reach: np.ndarray


def measure(features, groups, known_reach=None):
    """The `Figures` of images in clusters.

    Args:
      features: `UnitFeatures`. groups: `Groups` of the same images.
      known_reach: float `[K]`, of other images of these clusters, NaN where
        there were none; or None.
    """
    distance, second = place(features, groups.centres, groups.labels)
    reach = reaches(distance, groups.labels, len(groups.centres))
    if known_reach is not None:
        unknown = np.isnan(known_reach)
        reach = np.where(unknown, reach, np.float32(known_reach))
    outlier = groups.noise | (distance > reach[groups.labels])
    return Figures(distance, second, outlier, reach)


def place(features, centres, labels):
    """Distance to the own centre `[n]`, and the nearest other cluster `[n]`.

    Args:
      features: `UnitFeatures`. centres: `[K, F]`, zeros for an empty cluster.
      labels: int `[n]`.
    """
    units = unit(centres)
    empty = ~centres.any(axis=1)
    distance = np.empty(len(features), np.float32)
    second = np.full(len(features), -1, np.int32)
    for some, rows in features.blocks(len(centres)):
        cosines = rows @ units.T  # [b, K]
        own = labels[some, None]
        distance[some] = 1 - np.take_along_axis(cosines, own, 1)[:, 0]
        cosines[:, empty] = -np.inf
        np.put_along_axis(cosines, own, -np.inf, 1)
        if np.count_nonzero(~empty) > 1:
            second[some] = cosines.argmax(axis=1)
    return np.maximum(distance, 0), second


def reaches(distance, labels, num_clusters):
    """The distance from which on an image fits its cluster badly, `[K]`."""
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=num_clusters))
    middle = np.zeros(num_clusters)
    middle[:] = np.median(distance)
    spread = np.full(num_clusters, np.nan)
    deviations = np.empty(len(labels))
    for k, rows in enumerate(np.split(order, ends[:-1])):
        if len(rows):
            middle[k] = np.median(distance[rows])
            deviations[rows] = np.abs(distance[rows] - middle[k])
        if len(rows) >= _ENOUGH:
            spread[k] = np.median(deviations[rows])
    spread = np.where(np.isnan(spread), np.median(deviations), spread)
    reach = middle + _DEVIATIONS * _TO_DEVIATION * spread
    # Rounding moves equal images apart by this.
    return np.float32(reach + 1e-5)
