"""How well clusters of frozen features agree with labels that were not used.

k-means on the test source's features, with as many clusters as classes, then
NMI, AMI, ARI and the accuracy of the best one-to-one match of clusters to
classes (Hungarian method). NMI is DeepCluster's (Caron et al. 2018,
arXiv:1807.05520, section 4.1), I / sqrt(H H'). The variant that divides by the
arithmetic mean, scikit-learn's default today, is given beside it.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from tfclust.evaluation.protocols.record import Column, Protocol
from tfclust.evaluation.rows import checked_rows
from tfclust.options import check, option

# Lloyd's iterations converge well before this; `_TOLERANCE` ends them.
_MAX_ITERS = 300
_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Config:
    """Knobs of the clusters that are compared with labels."""

    evaluation_clusters: int | None = option(
        None, "Clusters of k-means; empty for the number of classes.", lower=2
    )
    cluster_restarts: int = option(
        10,
        "Starts of k-means; the one with the lowest inertia counts.",
        lower=1,
    )

    def __post_init__(self):
        check(self)


class ClustersResult(NamedTuple):
    """Agreement of clusters and labels; 1 is the best of each."""

    nmi: float  # geometric mean of the entropies
    nmi_arithmetic: float
    ami: float
    ari: float
    accuracy: float  # Hungarian
    num_clusters: int
    assignments: np.ndarray  # [N]


def evaluate_clusters(
    features, labels, *, num_clusters=None, num_restarts=10, seed=0
):
    """Clusters features by k-means and compares the clusters with labels.

    Rows are scaled to unit length, so that distances have the same order as the
    cosines of `evaluate_knn`. Each restart begins with k-means++. The one with
    the lowest inertia counts, which uses no label.

    Args:
      features: `[N, F]` float.
      labels: `[N]` int.
      num_clusters: int K; None for the number of classes.
      num_restarts: int. 10, once scikit-learn's default.
      seed: int from 0 to 2**32 - 1, as scikit-learn takes them.

    Returns:
      `ClustersResult`.

    Raises:
      ValueError: if shapes do not fit, features are not finite, or there are
        fewer rows than clusters.

    Source:
      Caron et al. 2018, arXiv:1807.05520, section 4.1; Asano et al. 2020,
      arXiv:1911.05371, for AMI, ARI and accuracy.
    """
    from tfclust.ops import partitions
    from tfclust.ops.units import unit_rows

    features, labels = checked_rows(features, labels, "test")
    if num_clusters is None:
        num_clusters = len(np.unique(labels))
    if not 2 <= num_clusters <= len(features):
        raise ValueError(
            "clusters must be at least 2 and at most as many as the images. "
            f"Received: {num_clusters} clusters, {len(features)} test images. "
            "Set evaluation_clusters, or give more images."
        )
    rows = unit_rows(features)
    results = [
        _clustered(rows, num_clusters, (seed + restart) % 2**32)
        for restart in range(num_restarts)
    ]
    best = min(results, key=lambda result: float(result.inertia))
    assignments = np.asarray(best.pseudo_labels)
    return ClustersResult(
        nmi=partitions.nmi(labels, assignments, average="geometric"),
        nmi_arithmetic=partitions.nmi(
            labels, assignments, average="arithmetic"
        ),
        ami=partitions.ami(labels, assignments),
        ari=partitions.ari(labels, assignments),
        accuracy=partitions.hungarian_accuracy(labels, assignments),
        num_clusters=num_clusters,
        assignments=assignments,
    )


def run(subject, config):
    """Figures of a `Subject`."""
    result = evaluate_clusters(
        subject.test_features,
        subject.test.labels,
        num_clusters=config.evaluation_clusters,
        num_restarts=config.cluster_restarts,
        seed=config.evaluation_seed,
    )
    figures = result._asdict()
    del figures["assignments"]
    return figures


def columns(figures):
    """Agreement by each measure."""
    means = f"{figures['num_clusters']}-means"
    return (
        Column(f"{means}, NMI (geometric)", "nmi", short="NMI"),
        Column(f"{means}, NMI (arithmetic)", "nmi_arithmetic", said=False),
        Column(f"{means}, AMI", "ami", said=False),
        Column(f"{means}, ARI", "ari", short="ARI"),
        Column(f"{means}, Hungarian accuracy %", "accuracy", percent=True),
    )


PROTOCOL = Protocol(
    run,
    Config,
    learns=False,
    columns=columns,
    words="agreement of k-means clusters with labels",
)


def _clustered(rows, num_clusters, seed):
    """`KMeansResult` of one start."""
    from sklearn.cluster import kmeans_plusplus

    from tfclust.ops.kmeans import kmeans

    start, _ = kmeans_plusplus(rows, num_clusters, random_state=seed)
    return kmeans(
        rows,
        num_clusters,
        num_iters=_MAX_ITERS,
        seed=seed,
        initial_centroids=start,
        tolerance=_TOLERANCE,
    )
