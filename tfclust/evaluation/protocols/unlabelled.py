"""What clusters are worth where nobody has labels.

k-means on the features of all images, then three questions. Are two random
crops of an image in the same cluster (stability)? How many clusters are in use?
Are they apart (silhouette, Rousseeuw 1987, by cosine)? None of them says that
the clusters are the kinds that a user has in mind; a network that has learnt
nothing gives the level to compare with.
"""

import dataclasses

import numpy as np

from tfclust.evaluation.protocols.record import Column, Protocol
from tfclust.options import check

_SILHOUETTE_ROWS = 2000  # its distances are N x N
_NOTICEABLE = 0.02


@dataclasses.dataclass(frozen=True)
class Config:
    """No knobs: those of `clusters` hold here too."""

    def __post_init__(self):
        check(self)


def default_clusters(num_images):
    """K where nothing tells how many kinds there are: sqrt(N / 2)."""
    return max(2, round((num_images / 2) ** 0.5))


def run(subject, config):
    """Figures of a `Subject`."""
    from tfclust.evaluation.best_kmeans import best_kmeans
    from tfclust.ops import partitions
    from tfclust.ops.units import unit_rows

    rows = unit_rows(subject.test_features)
    num_clusters = default_clusters(len(rows))
    if config.evaluation_clusters:
        num_clusters = config.evaluation_clusters[0]
    best = best_kmeans(
        rows, num_clusters, config.cluster_restarts, config.evaluation_seed
    )
    clusters = np.asarray(best.pseudo_labels)
    first, second = (
        nearest(unit_rows(crops), np.asarray(best.centroids))
        for crops in subject.crop_features
    )
    counts = np.bincount(clusters, minlength=num_clusters)
    return {
        **stability(first, second, num_clusters),
        "effective_clusters": partitions.effective_clusters(counts),
        "silhouette": silhouette(rows, clusters, config.evaluation_seed),
        "num_clusters": num_clusters,
        "num_images": len(rows),
    }


def nearest(rows, centroids):
    """The nearest of centroids `[K, F]` to each of rows `[N, F]`, int `[N]`."""
    # |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2)
    scores = rows @ centroids.T - (centroids**2).sum(axis=1) / 2  # [N, K]
    return scores.argmax(axis=1)


def stability(first, second, num_clusters):
    """How often two crops are in one cluster, and how often by chance.

    Args:
      first: int `[N]`, the cluster of one crop of each image.
      second: int `[N]`, that of the other.
      num_clusters: int K.

    Returns:
      dict: `stability`, the share of images; `stability_chance`, the share if
      crops of different images were paired.
    """
    shares = [
        np.bincount(clusters, minlength=num_clusters) / len(clusters)
        for clusters in (first, second)
    ]
    return {
        "stability": float(np.mean(first == second)),
        "stability_chance": float(shares[0] @ shares[1]),
    }


def silhouette(rows, clusters, seed):
    """Mean silhouette by cosine of at most 2,000 rows; None if undefined."""
    from sklearn.metrics import silhouette_score

    if len(rows) > _SILHOUETTE_ROWS:
        some = np.random.default_rng(seed).permutation(len(rows))
        some = np.sort(some[:_SILHOUETTE_ROWS])
        rows, clusters = rows[some], clusters[some]
    if not 2 <= len(np.unique(clusters)) < len(rows):
        return None  # all together, or each image alone
    return float(silhouette_score(rows, clusters, metric="cosine"))


def columns(figures):
    """Stability first; it has a chance level."""
    means = f"{figures['num_clusters']}-means"
    return (
        Column(
            f"{means}, two crops in one cluster %",
            "stability",
            percent=True,
            short="stable",
            chance="stability_chance",
        ),
        Column(f"{means}, effective clusters", "effective_clusters"),
        Column(f"{means}, silhouette (cosine)", "silhouette", said=False),
    )


def verdict(results):
    """A sentence on the trained network, or None without one.

    Args:
      results: `{backbone: figures}`.
    """
    if "trained" not in results:
        return None
    found = results["trained"]
    told = (
        f"Two crops of an image are in the same of {found['num_clusters']} "
        f"clusters for {found['stability']:.1%} of "
        f"{found['num_images']:,} images ({found['stability_chance']:.1%} by "
        f"chance); {found['effective_clusters']:.1f} clusters are in use"
    )
    if "untrained" not in results:
        return f"{told}."
    other = results["untrained"]
    told += (
        f". The untrained network: {other['stability']:.1%} "
        f"({other['stability_chance']:.1%}). "
    )
    return told + _compared(found, other) + _by_colours(found, results)


def _compared(found, other):
    """What training has changed, and what to do then."""
    steadier = _above_chance(found) - _above_chance(other) > _NOTICEABLE
    apart = (found["silhouette"] or 0) - (other["silhouette"] or 0)
    if steadier and apart > _NOTICEABLE:
        return (
            "Training has made clusters steadier and further apart. Whether "
            "they are the kinds that you mean, only labels can say."
        )
    if steadier or apart > _NOTICEABLE:
        what = (
            "steadier, not further apart"
            if steadier
            else ("further apart, not steadier")
        )
        return (
            f"Training has made clusters {what}: little is learnt yet. Train "
            "longer, or on more images."
        )
    return (
        "Training has made clusters neither steadier nor further apart: "
        "nothing is learnt that an untrained network does not see. Read what "
        "the run said of its figures, and change that first."
    )


def _by_colours(found, results):
    """A warning, or nothing."""
    colours = results.get("colours")
    if colours is None or _above_chance(colours) < _above_chance(found):
        return ""
    return (
        f" Clusters of colours alone are as steady ({colours['stability']:.1%}"
        "): look whether the clusters are more than that."
    )


def _above_chance(figures):
    """Stability with 0 at chance and 1 at its best."""
    chance = figures["stability_chance"]
    return (figures["stability"] - chance) / max(1e-9, 1 - chance)


PROTOCOL = Protocol(
    run,
    Config,
    learns=False,
    columns=columns,
    words="stability of clusters over crops, without labels",
    labels=False,
    judges=False,
    default_for=("no labels",),
    verdict=verdict,
)
