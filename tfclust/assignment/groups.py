"""Which cluster each image is in: the model's own, or groups of features."""

from typing import NamedTuple

import numpy as np
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA

from tfclust.evaluation.best_kmeans import best_kmeans
from tfclust.ops.filling import check_filling

RESTARTS = 3
# Distances in hundreds of directions are all alike; HDBSCAN finds nothing.
_DIRECTIONS = 32
_FEWEST = 3  # images that HDBSCAN takes
_HDBSCAN_ROWS = 10_000  # 6.5 s; the time grows with the square


class Groups(NamedTuple):
    """The clusters of n images.

    labels int32 `[n]`; confidence float32 `[n]`; centres float32 `[K, F]`, the
    mean of each cluster's unit features, zeros for an empty one; noise bool
    `[n]`, images that are in no dense group.
    """

    labels: np.ndarray
    confidence: np.ndarray
    centres: np.ndarray
    noise: np.ndarray


def own(features, labels, scores):
    """The model's own clusters.

    Args:
      features: `UnitFeatures`. labels: int `[n]`. scores: float `[n]`.
    """
    labels = np.asarray(labels, np.int32)
    centres = means(features, labels, int(labels.max()) + 1)
    none = np.zeros(len(features), bool)
    return Groups(labels, np.asarray(scores, np.float32), centres, none)


def by_kmeans(features, num_clusters, seed):
    """k-means of unit features, fitted to `FIT_ROWS` of them at most.

    Raises:
      ValueError: if there are fewer images than clusters.
    """
    fitted = features.sample()
    check_filling(len(fitted), num_clusters)
    found = best_kmeans(features.take(fitted), num_clusters, RESTARTS, seed)
    labels, confidence = nearest(features, found.centroids)
    # An empty group, as of many equal images, is no image's second choice.
    sizes = np.bincount(labels, minlength=num_clusters)
    centres = np.where(sizes[:, None] > 0, found.centroids, np.float32(0))
    none = np.zeros(len(features), bool)
    return Groups(labels, confidence, centres, none)


def by_hdbscan(features, min_cluster_size=None):
    """Dense groups of any number; what is in none goes to the nearest centre.

    Beyond 10,000 images, the groups are those of a sample. Another image is
    noise if it lies farther from its centre than any dense image of the
    sample.

    Args:
      features: `UnitFeatures`.
      min_cluster_size: int, or None for a third of the square root of their
        number, at least 5.

    Raises:
      ValueError: if no group is dense.
    """
    fitted = features.sample(_HDBSCAN_ROWS)
    smallest = min_cluster_size or max(5, round(len(fitted) ** 0.5 / 3))
    rows = features.take(fitted)
    if len(rows) < max(smallest, _FEWEST):
        raise ValueError(
            f"hdbscan needs {max(smallest, _FEWEST)} images or more here. "
            f"Received: {len(rows)} with min_cluster_size={smallest}. Lower "
            "min_cluster_size, or give a number as num_clusters."
        )
    width = min(_DIRECTIONS, *rows.shape)
    flat = PCA(width, random_state=0).fit_transform(rows)
    dense = HDBSCAN(smallest, copy=True).fit_predict(flat)
    count = int(dense.max()) + 1
    if not count:
        raise ValueError(
            "hdbscan found no dense group. Received: min_cluster_size="
            f"{smallest} for {len(fitted):,} images. Lower min_cluster_size, "
            "or give a number as num_clusters."
        )
    centres = np.stack([rows[dense == k].mean(axis=0) for k in range(count)])
    labels, confidence = nearest(features, centres)
    reach = np.array(
        [confidence[fitted[dense == k]].min() for k in range(count)]
    )
    noise = confidence < reach[labels]
    inside = dense >= 0
    labels[fitted[inside]] = dense[inside]
    noise[fitted] = ~inside
    confidence = _cosines(features, centres, labels)
    return Groups(labels, confidence, centres, noise)


def nearest(features, centres):
    """The nearest centre of each image, int32 `[n]`, and its cosine `[n]`."""
    bias = -0.5 * np.einsum("kf,kf->k", centres, centres)
    labels = np.empty(len(features), np.int32)
    for some, rows in features.blocks(len(centres)):
        labels[some] = np.argmax(rows @ centres.T + bias, axis=1)
    return labels, _cosines(features, centres, labels)


def means(features, labels, num_clusters):
    """Means `[K, F]` float32 of unit rows by cluster, zeros for an empty one.

    Clusters are summed one by one: `np.add.at` takes fifty times as long.
    """
    sums = np.zeros([num_clusters, features.width])
    for some, rows in features.blocks():
        order = np.argsort(labels[some], kind="stable")
        values, begins = np.unique(labels[some][order], return_index=True)
        sums[values] += np.add.reduceat(rows[order], begins, dtype=np.float64)
    counts = np.bincount(labels, minlength=num_clusters)[:, None]
    return np.float32(sums / np.maximum(counts, 1))


def _cosines(features, centres, labels):
    found = np.empty(len(features), np.float32)
    units = unit(centres)
    for some, rows in features.blocks():
        found[some] = np.einsum("nf,nf->n", rows, units[labels[some]])
    return found


def unit(centres):
    """Centres scaled to unit length; zeros stay."""
    lengths = np.linalg.norm(centres, axis=1, keepdims=True)
    return np.float32(centres / np.maximum(lengths, 1e-12))
