"""Weighted k-nearest-neighbour classification of frozen features.

Wu et al. 2018 (arXiv:1805.01978), section 3.4, as DINO's `eval_knn.py` has it:
features to unit length, neighbours by cosine, a vote of exp(cosine / T) each.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust.evaluation.features import checked_rows

# A block of similarities takes 128 MB: 2,048 queries by 16,384 bank rows.
QUERY_ROWS = 2048
BANK_ROWS = 16384


class KNNResult(NamedTuple):
    """Share of test rows classified right, and the class of each `[Q]`."""

    top1: float
    predictions: np.ndarray


class Neighbors(NamedTuple):
    """Cosines `[Q, k]`, largest first, and bank rows `[Q, k]`."""

    similarities: np.ndarray
    rows: np.ndarray


def evaluate_knn(
    train_features,
    train_labels,
    test_features,
    test_labels,
    *,
    num_neighbors=20,
    temperature=0.07,
    block_rows=BANK_ROWS,
):
    """Classifies test rows by their nearest training rows.

    A neighbour with cosine s votes exp(s / temperature) for its class; the
    class with the largest sum wins, of equal ones the smallest label.

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
    neighbors = nearest(bank, queries, num_neighbors, block_rows=block_rows)
    classes, bank_classes = np.unique(bank_labels, return_inverse=True)
    votes_for = _winners(
        neighbors.similarities,
        bank_classes[neighbors.rows],
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
    """Accuracy of `evaluate_knn`, for a look at each epoch.

    The caller caps the bank; one with fewer rows than `num_neighbors` votes as
    a whole.

    Returns:
      float, share of queries classified right.
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


def nearest(bank, queries, num_neighbors, *, block_rows=BANK_ROWS):
    """The rows of `bank` with the largest cosine to each query.

    Args:
      bank: float32 `[N, F]`.
      queries: float32 `[Q, F]`.
      num_neighbors: int k <= N.
      block_rows: int, bank rows compared at once.

    Returns:
      `Neighbors`; of equal cosines the lower row comes first.
    """
    num_queries = len(queries)
    similarities = np.full((num_queries, num_neighbors), -np.inf, np.float32)
    rows = np.zeros((num_queries, num_neighbors), np.int64)
    # The bank is the long side: each of its blocks is read and scaled once.
    for first in range(0, len(bank), block_rows):
        bank_block = _unit(bank[first : first + block_rows])
        for begin in range(0, num_queries, QUERY_ROWS):
            some = slice(begin, begin + QUERY_ROWS)
            similarities[some], rows[some] = _merged(
                _unit(queries[some]),
                bank_block,
                similarities[some],
                rows[some],
                tf.constant(first, tf.int64),
                num_neighbors,
            )
    return Neighbors(similarities, rows)


def protocol(subject, config):
    """The entry of `EVALUATORS`: figures of a `Subject` as a dict."""
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
        "num_neighbors": config.num_neighbors,
        "temperature": config.knn_temperature,
    }


def _unit(rows):
    return tf.math.l2_normalize(tf.constant(rows), axis=1, epsilon=1e-24)


@tf.function(reduce_retracing=True)
def _merged(queries, bank, similarities, rows, first_row, num_neighbors):
    """The best of those found so far and of one more block of the bank."""
    products = tf.matmul(queries, bank, transpose_b=True)  # [Q, b]
    in_block = tf.minimum(num_neighbors, tf.shape(bank)[0])
    values, columns = tf.math.top_k(products, in_block)
    values = tf.concat([similarities, values], axis=1)  # [Q, 2 k]
    # Earlier blocks stand first, so that top_k prefers their lower rows.
    columns = tf.cast(columns, tf.int64) + first_row
    candidates = tf.concat([rows, columns], axis=1)
    values, best = tf.math.top_k(values, num_neighbors)  # [Q, k]
    return values, tf.gather(candidates, best, batch_dims=1)


def _winners(similarities, neighbor_classes, num_classes, temperature):
    """The class with the largest sum of votes, int64 `[Q]`."""
    winners = np.empty(len(similarities), np.int64)
    # Relative to the nearest: a factor that all votes share, and no overflow.
    relative = similarities - similarities[:, :1]
    weights = np.exp(relative / np.float64(temperature))  # [Q, k]
    for begin in range(0, len(weights), QUERY_ROWS):
        some = slice(begin, begin + QUERY_ROWS)
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
