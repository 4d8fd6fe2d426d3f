"""How well clusters of frozen features agree with labels that were not used.

k-means on the test source's features, with as many clusters as classes or other
numbers, and the method's own clusters of these images: NMI, AMI, ARI, purity
and the accuracy of the best one-to-one match of clusters to classes (Hungarian
method). NMI is DeepCluster's (Caron et al. 2018,
arXiv:1807.05520, section 4.1), I / sqrt(H H'). The variant that divides by the
arithmetic mean, scikit-learn's default today, is given beside it.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from tfclust.evaluation import agreement, verdict
from tfclust.evaluation.protocols.record import Protocol
from tfclust.evaluation.rows import checked_rows
from tfclust.options import check, option


@dataclasses.dataclass(frozen=True)
class Config:
    """Knobs of the clusters that are compared with labels."""

    evaluation_clusters: tuple[int, ...] = option(
        (),
        "Clusters of k-means, one number or several; the first is the figure "
        "that counts. Empty for the number of classes, or without labels for "
        "the root of half the images.",
        lower=2,
    )
    cluster_restarts: int = option(
        10,
        "Starts of k-means; the one with the lowest inertia counts.",
        lower=1,
    )

    def __post_init__(self):
        check(self)
        counts = self.evaluation_clusters
        if len(set(counts)) < len(counts):
            raise ValueError(
                "evaluation_clusters must name each number once. Received: "
                f"evaluation_clusters={','.join(map(str, counts))}."
            )


class ClustersResult(NamedTuple):
    """`agreement.Agreement` of k-means, and the clusters `[N]`."""

    nmi: float
    nmi_arithmetic: float
    ami: float
    ari: float
    purity: float
    accuracy: float
    nmi_chance: float
    nmi_arithmetic_chance: float
    purity_chance: float
    accuracy_chance: float
    num_clusters: int
    assignments: np.ndarray


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
    from tfclust.ops.units import unit_rows

    features, labels = checked_rows(features, labels, "test")
    if num_clusters is None:
        num_clusters = len(np.unique(labels))
    _check_number(num_clusters, len(features))
    best = best_kmeans(unit_rows(features), num_clusters, num_restarts, seed)
    assignments = np.asarray(best.pseudo_labels)
    found = agreement.agreement(labels, assignments, seed)
    return ClustersResult(
        **found._asdict(), num_clusters=num_clusters, assignments=assignments
    )


def run(subject, config):
    """Figures of a `Subject`: k-means, and the method's own clusters."""
    labels, resamples = subject.test.labels, config.bootstrap_resamples or 0
    first, *others = config.evaluation_clusters or (None,)

    def figures_of(result):
        clusters = result.assignments
        return {
            **{n: v for n, v in result._asdict().items() if n != "assignments"},
            **agreement.interval_figures(
                labels, clusters, resamples, config.evaluation_seed
            ),
        }

    def by_kmeans(num_clusters):
        return evaluate_clusters(
            subject.test_features,
            labels,
            num_clusters=num_clusters,
            num_restarts=config.cluster_restarts,
            seed=config.evaluation_seed,
        )

    figures = figures_of(by_kmeans(first))
    if others:
        figures["others"] = others
    for count in others:
        for name, value in figures_of(by_kmeans(count)).items():
            figures[_figure(name, count)] = value
    own = subject.clusters(subject.test)
    if own is not None:
        found = agreement.agreement(labels, own, config.evaluation_seed)
        own_result = ClustersResult(
            **found._asdict(),
            num_clusters=len(np.unique(own)),
            assignments=own,
        )
        for name, value in figures_of(own_result).items():
            figures[f"own_{name}"] = value
    return figures


def check_images(config, test):
    """Refuses more clusters than images, and images of one class."""
    _check_number(
        max(config.evaluation_clusters or (len(np.unique(test.labels)),)),
        test.num_images,
    )


def columns(figures):
    """Agreement by each measure, for each of the clusterings."""
    found = agreement.columns(f"{figures['num_clusters']}-means")
    for count in figures.get("others", ()):
        found += agreement.columns(
            f"{count}-means", None, ending=f"_k{count}", said=False
        )
    if "own_ami" in figures:
        found += agreement.columns(
            "own clusters", None, prefix="own_", said=False
        )
    return found


def _check_number(num_clusters, num_images):
    if not 2 <= num_clusters <= num_images:
        raise ValueError(
            "clusters must be at least 2 and at most as many as the images. "
            f"Received: {num_clusters} clusters, {num_images} test images. "
            "Set evaluation_clusters, or give more images or classes."
        )


def _figure(name, count):
    """The name of a figure of another number of clusters than the first."""
    base = name.removesuffix("_interval")
    return f"{base}_k{count}{name[len(base) :]}"


PROTOCOL = Protocol(
    run,
    Config,
    learns=False,
    columns=columns,
    words="agreement of clusters with labels",
    check_test=check_images,
    verdict=verdict.of_clusters,
)
