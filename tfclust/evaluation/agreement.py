"""How well clusters and classes agree, each figure with its chance level."""

from typing import NamedTuple

import numpy as np

from tfclust.evaluation import intervals
from tfclust.evaluation.protocols.record import Column

# Chance levels of accuracy and purity are means of so many deals; of many
# images, each deal is nearly the mean.
_DEALS, _DEALS_OF_MANY = 20, 5
_MANY = 100_000


class Agreement(NamedTuple):
    """Agreement of clusters and labels; 1 is the best of each.

    The chance levels are what random groups of the same sizes have; for AMI,
    the chance-adjusted NMI, and ARI that is 0.
    """

    nmi: float  # geometric mean of the entropies
    nmi_arithmetic: float
    ami: float
    ari: float
    purity: float
    accuracy: float  # Hungarian
    nmi_chance: float
    nmi_arithmetic_chance: float
    purity_chance: float
    accuracy_chance: float


def agreement(labels, clusters, seed=0):
    """The `Agreement` of int `[N]` labels and clusters.

    Args:
      labels, clusters: int `[N]`.
      seed: int, of the chance levels of accuracy and purity.
    """
    from tfclust.ops import partitions

    random = np.random.default_rng(seed)
    deals = [
        random.permutation(clusters)
        for _ in range(_DEALS if len(labels) < _MANY else _DEALS_OF_MANY)
    ]
    shares = {
        "purity": partitions.purity,
        "accuracy": partitions.hungarian_accuracy,
    }
    means = {"nmi": "geometric", "nmi_arithmetic": "arithmetic"}
    found = {
        "ami": partitions.ami(labels, clusters),
        "ari": partitions.ari(labels, clusters),
    }
    for name, average in means.items():
        found[name] = partitions.nmi(labels, clusters, average)
        found[f"{name}_chance"] = partitions.chance_nmi(
            labels, clusters, average
        )
    for name, share in shares.items():
        found[name] = share(labels, clusters)
        found[f"{name}_chance"] = float(
            np.mean([share(labels, dealt) for dealt in deals])
        )
    return Agreement(**found)


def interval_figures(labels, clusters, resamples, seed):
    """`{figure}_interval` of an `Agreement`'s figures; empty without resamples.

    Args:
      labels: int `[N]`, of the images.
      clusters: int `[N]`; or `[N, H]` for the means of several, each of the
        images that are not -1 in it.
      resamples: int, draws of the bootstrap, or 0. seed: int.
    """
    from tfclust.ops import partitions

    measures = {
        "nmi": partitions.nmi,
        "ami": partitions.ami,
        "ari": partitions.ari,
        "purity": partitions.purity,
        "accuracy": partitions.hungarian_accuracy,
    }

    columns = np.reshape(clusters, [len(labels), -1]).T  # [H, N]

    def figures(rows):
        drawn = [(column[rows], column[rows] >= 0) for column in columns]
        return {
            name: np.mean(
                [measure(labels[rows][seen], of[seen]) for of, seen in drawn]
            )
            for name, measure in measures.items()
        }

    return intervals.of_figures(
        figures, len(labels), resamples=resamples, seed=seed, moved=True
    )


def columns(title, short="", *, prefix="", ending="", said=True):
    """The `Column`s of an `Agreement` in figures `<prefix><name><ending>`.

    Args:
      title: str, whose clusters they are.
      short: str, before headings of a sweep, or empty; None for no headings.
      prefix, ending: str, around the figures' names.
      said: whether the important ones are in the line on the protocol.
    """

    def column(words, name, *, heading="", tell=False, **others):
        chance = others.pop("chance", f"{prefix}{name}_chance{ending}")
        if heading and short is not None:
            heading = f"{short} {heading}".strip()
        else:
            heading = ""
        return Column(
            f"{title}, {words}",
            f"{prefix}{name}{ending}",
            short=heading,
            said=said and tell,
            chance=chance,
            **others,
        )

    return (
        column("AMI", "ami", heading="AMI", tell=True, chance=0.0),
        column("ARI", "ari", heading="ARI", tell=True, chance=0.0),
        column("NMI (geometric)", "nmi", heading="NMI"),
        column("NMI (arithmetic)", "nmi_arithmetic"),
        column("purity %", "purity", percent=True),
        column("Hungarian accuracy %", "accuracy", tell=True, percent=True),
    )
