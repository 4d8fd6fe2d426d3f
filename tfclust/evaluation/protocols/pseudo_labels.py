"""How well the labels that a method gave its own images agree with theirs.

DeepCluster's, SeLa's and ODC's pseudo-labels, and for methods that keep none
the last cluster of each image: of the images of the training, whose own labels
nothing has seen. Figures are means over heads.
"""

import dataclasses

import numpy as np

from tfclust.evaluation import agreement
from tfclust.evaluation.protocols.record import Protocol
from tfclust.options import check


@dataclasses.dataclass(frozen=True)
class Config:
    """No knobs."""

    def __post_init__(self):
        check(self)


def run(subject, config):
    """Figures of a `Subject`; none of a network without pseudo-labels."""
    if subject.network.pseudo_labels is None:
        return {}
    return evaluate_pseudo_labels(
        subject.network.pseudo_labels.rows,
        subject.train.labels,
        seed=config.evaluation_seed,
        resamples=config.bootstrap_resamples or 0,
    )


def evaluate_pseudo_labels(rows, labels, *, seed=0, resamples=0):
    """The mean agreement of heads with labels.

    Args:
      rows: int `[N, H]`, -1 where none is known, which does not count.
      labels: int `[N]`, likewise.
      seed: int, of the chance levels and the draws.
      resamples: int, draws of the images for intervals.

    Returns:
      dict of `agreement.Agreement`'s figures and their intervals, with
      num_clusters (in use, mean over heads), num_heads and unassigned (share of
      images).

    Raises:
      ValueError: if a head has labelled no image.
    """
    known = (rows >= 0) & (labels >= 0)[:, None]
    if not known.any(axis=0).all():
        raise ValueError(
            "pseudo-labels need a labelled image that was seen. Received: "
            f"none in a head, of {len(rows)} images. Train for an epoch first."
        )
    heads = [
        agreement.agreement(labels[seen], column[seen], seed)
        for column, seen in zip(rows.T, known.T, strict=True)
    ]
    counts = [
        len(np.unique(column[seen]))
        for column, seen in zip(rows.T, known.T, strict=True)
    ]
    means = agreement.Agreement(*np.mean(heads, axis=0).tolist())
    known_labels = labels >= 0
    return {
        **means._asdict(),
        **agreement.interval_figures(
            labels[known_labels], rows[known_labels], resamples, seed
        ),
        "num_clusters": float(np.mean(counts)),
        "num_heads": len(heads),
        "unassigned": float(1 - known.mean()),
    }


def check_network(config, network, train):
    """Refuses other images than those of the training, or no labels at all."""
    del config
    pseudo_labels = network.pseudo_labels
    if pseudo_labels is None:
        raise ValueError(
            "the protocol pseudo_labels judges the labels that a run gave its "
            "images. Received: a network without, such as a SavedModel. Give "
            "--workdir of a run with clusters, or leave pseudo_labels out of "
            "protocols."
        )
    if pseudo_labels.data_digest != train.manifest_hash:
        raise ValueError(
            "the protocol pseudo_labels needs all images of the training, as "
            f"it saw them. Received: {train.num_images} of {train.uri}, for "
            f"{len(pseudo_labels.rows)} labels. Leave train_data and "
            "max_images out and give other images in test_data; after a run "
            "with imbalance or class_shares, ask for pseudo_labels without "
            "protocols that learn from all images, such as knn. Or leave "
            "pseudo_labels out of protocols."
        )


def columns(figures):
    """Agreement by each measure."""
    if not figures:
        return ()
    return agreement.columns("pseudo-labels", "pseudo")


PROTOCOL = Protocol(
    run,
    Config,
    learns=True,
    columns=columns,
    words="agreement of a run's pseudo-labels with labels",
    answers=False,
    default_for=(),
    check_network=check_network,
)
