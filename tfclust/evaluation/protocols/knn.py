"""Weighted k-nearest-neighbour classification of frozen features.

Wu et al. 2018 (arXiv:1805.01978), section 3.4, as in DINO's `eval_knn.py`:
features of unit length, neighbours by cosine, each with a vote of exp(cosine /
T).
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from tfclust.evaluation.protocols.record import Column, Protocol
from tfclust.evaluation.rows import checked_rows, largest_class_share
from tfclust.options import check, option

_VOTE_ROWS = 2048  # test rows whose votes are counted at once


@dataclasses.dataclass(frozen=True)
class Config:
    """Knobs of the kNN."""

    num_neighbors: int = option(
        20, "Neighbours that vote.", source="SwAV's published kNN", lower=1
    )
    knn_temperature: float = option(
        0.07,
        "A neighbour's vote is exp(cosine / temperature).",
        source="Wu et al. 2018, 3.4; 0.1 in SeLa and VISSL",
        lower=1e-6,
    )

    def __post_init__(self):
        check(self)


class KNNResult(NamedTuple):
    """Share of test rows classified correctly, and the class of each `[Q]`."""

    top1: float
    predictions: np.ndarray


def evaluate_knn(
    train_features,
    train_labels,
    test_features,
    test_labels,
    *,
    num_neighbors=20,
    temperature=0.07,
    block_rows=16384,
):
    """Classifies test rows by their nearest training rows.

    A neighbour with cosine s votes exp(s / temperature) for its class; the
    class with the largest sum wins; if sums are equal, the smallest label.

    Args:
      train_features: `[N, F]` float, the bank.
      train_labels: `[N]` int.
      test_features: `[Q, F]` float.
      test_labels: `[Q]` int.
      num_neighbors: int k. 20 gives SwAV's published figure.
      temperature: positive float T. 0.07 in Wu et al. and DINO.
      block_rows: int, bank rows compared at once; bounds the memory.

    Returns:
      `KNNResult`.

    Raises:
      ValueError: if shapes do not fit, features are not finite, or there are
        fewer training rows than `num_neighbors`.

    Source:
      Wu et al. 2018, arXiv:1805.01978, section 3.4.
    """
    bank, bank_labels = checked_rows(train_features, train_labels, "train")
    queries, labels = checked_rows(test_features, test_labels, "test")
    if not 1 <= num_neighbors <= len(bank):
        raise ValueError(
            "num_neighbors must be at least 1 and at most the number of "
            f"training images. Received: num_neighbors={num_neighbors}, "
            f"{len(bank)} images."
        )
    if not temperature > 0:
        raise ValueError(
            "temperature must be positive. Received: "
            f"temperature={temperature}. 0.07 is usual."
        )
    from tfclust.ops.neighbors import nearest_neighbors

    # faiss would leave a GPU idle.
    neighbors = nearest_neighbors(
        bank,
        num_neighbors,
        queries=queries,
        metric="cosine",
        use_faiss=False,
        block_rows=block_rows,
    )
    classes, bank_classes = np.unique(bank_labels, return_inverse=True)
    votes_for = _winners(
        neighbors.distances,
        bank_classes[neighbors.index],
        len(classes),
        temperature,
    )
    predictions = classes[votes_for]
    return KNNResult(float(np.mean(predictions == labels)), predictions)


def online_knn(
    bank_features,
    bank_labels,
    query_features,
    query_labels,
    *,
    num_neighbors=20,
    temperature=0.07,
):
    """Accuracy of `evaluate_knn`, for each epoch.

    The caller limits the bank; if it has fewer rows than `num_neighbors`, all
    of them vote.

    Returns:
      float, share of queries classified correctly.
    """
    result = evaluate_knn(
        bank_features,
        bank_labels,
        query_features,
        query_labels,
        num_neighbors=min(num_neighbors, len(bank_features)),
        temperature=temperature,
    )
    return result.top1


def run(subject, config):
    """Figures of a `Subject`."""
    result = evaluate_knn(
        subject.train_features,
        subject.train.labels,
        subject.test_features,
        subject.test.labels,
        num_neighbors=config.num_neighbors,
        temperature=config.knn_temperature,
    )
    return {
        "top1": result.top1,
        "chance": largest_class_share(subject.test.labels),
        "num_neighbors": config.num_neighbors,
        "temperature": config.knn_temperature,
    }


def columns(figures):
    """The share classified correctly."""
    name = f"{figures['num_neighbors']}-NN"
    title = f"weighted {name}, top-1 %"
    return (Column(title, "top1", percent=True, short=name, chance="chance"),)


def check_images(config, train):
    """Refuses fewer training images than neighbours."""
    if config.num_neighbors > train.num_images:
        raise ValueError(
            "num_neighbors must be at most the number of training images. "
            f"Received: num_neighbors={config.num_neighbors}, "
            f"{train.num_images} images in {train.uri}."
        )


PROTOCOL = Protocol(
    run,
    Config,
    learns=True,
    columns=columns,
    words="weighted k nearest neighbours",
    check=check_images,
)


def _winners(distances, neighbor_classes, num_classes, temperature):
    """The class with the largest sum of votes, int64 `[Q]`."""
    winners = np.empty(len(distances), np.int64)
    # Relative to the nearest: one common factor for all votes, no overflow.
    relative = distances[:, :1] - distances
    weights = np.exp(relative / np.float64(temperature))  # [Q, k]
    for begin in range(0, len(weights), _VOTE_ROWS):
        some = slice(begin, begin + _VOTE_ROWS)
        block = weights[some]
        rows = np.arange(len(block))[:, None] * num_classes
        votes = np.bincount(
            (rows + neighbor_classes[some]).ravel(),
            weights=block.ravel(),
            minlength=len(block) * num_classes,
        )
        votes = votes.reshape(len(block), num_classes)  # [q, classes]
        winners[some] = votes.argmax(axis=1)
    return winners
