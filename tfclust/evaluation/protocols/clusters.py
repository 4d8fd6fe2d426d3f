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

_PERMUTATIONS = 20  # of which the chance level of accuracy is the mean


@dataclasses.dataclass(frozen=True)
class Config:
    """Knobs of the clusters that are compared with labels."""

    evaluation_clusters: int | None = option(
        None,
        "Clusters of k-means; empty for the number of classes, or without "
        "labels for the root of half the images.",
        lower=2,
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
    # What random groups of the same sizes have; for AMI and ARI that is 0.
    nmi_chance: float
    nmi_arithmetic_chance: float
    accuracy_chance: float


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
    from tfclust.evaluation.best_kmeans import best_kmeans
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
    best = best_kmeans(unit_rows(features), num_clusters, num_restarts, seed)
    assignments = np.asarray(best.pseudo_labels)
    means = {"": "geometric", "_arithmetic": "arithmetic"}
    by_chance = {
        f"nmi{name}_chance": partitions.chance_nmi(labels, assignments, mean)
        for name, mean in means.items()
    }
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
        accuracy_chance=_chance_accuracy(labels, assignments, seed),
        **by_chance,
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
        Column(f"{means}, AMI", "ami", short="AMI", chance=0.0),
        Column(f"{means}, ARI", "ari", short="ARI", chance=0.0),
        Column(
            f"{means}, NMI (geometric)",
            "nmi",
            short="NMI",
            said=False,
            chance="nmi_chance",
        ),
        Column(
            f"{means}, NMI (arithmetic)",
            "nmi_arithmetic",
            said=False,
            chance="nmi_arithmetic_chance",
        ),
        Column(
            f"{means}, Hungarian accuracy %",
            "accuracy",
            percent=True,
            chance="accuracy_chance",
        ),
    )


PROTOCOL = Protocol(
    run,
    Config,
    learns=False,
    columns=columns,
    words="agreement of k-means clusters with labels",
)


def _chance_accuracy(labels, assignments, seed):
    """Mean Hungarian accuracy of the clusters, dealt to the images anew."""
    from tfclust.ops import partitions

    random = np.random.default_rng(seed)
    return float(
        np.mean(
            [
                partitions.hungarian_accuracy(
                    labels, random.permutation(assignments)
                )
                for _ in range(_PERMUTATIONS)
            ]
        )
    )
