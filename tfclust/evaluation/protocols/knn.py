"""Weighted k-nearest-neighbour classification of frozen features.

Wu et al. 2018 (arXiv:1805.01978), section 3.4, as in DINO's `eval_knn.py`:
features of unit length, neighbours by cosine, each with a vote of exp(cosine /
T).
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from tfclust.evaluation import verdict
from tfclust.evaluation.intervals import of_shares
from tfclust.evaluation.protocols.record import Column, Protocol
from tfclust.evaluation.rows import chance_of, checked_rows
from tfclust.options import check, option

_VOTE_ROWS = 2048  # test rows whose votes are counted at once
_NEIGHBORS = 20


@dataclasses.dataclass(frozen=True)
class Config:
    """Knobs of the kNN."""

    num_neighbors: tuple[int, ...] = option(
        (),
        "Neighbours that vote; each of several is tried with each "
        "temperature, in one search. The first is the figure that counts. "
        f"Empty for {_NEIGHBORS}, or all training images where these are "
        "fewer.",
        source="SwAV's published kNN; 10,20,100,200 in DINO, 50 in SeLa",
        lower=1,
    )
    knn_temperature: tuple[float, ...] = option(
        (0.07,),
        "A neighbour's vote is exp(cosine / temperature).",
        source="Wu et al. 2018, 3.4; 0.1 in SeLa and VISSL",
        lower=1e-6,
    )
    knn_pca: int | None = option(
        None,
        "Directions that PCA keeps of the features before cosines are taken, "
        "fitted on the training images; 128 in SeLa. Empty for no PCA.",
        source="SeLa, cifar_utils.py",
        lower=1,
    )

    def __post_init__(self):
        check(self)
        if not self.knn_temperature:
            raise ValueError(
                "knn_temperature must name one value or more. Received: none."
            )
        for name in ("num_neighbors", "knn_temperature"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(
                    f"{name} must name each value once. Received: "
                    f"{name}={','.join(map(str, values))}."
                )

    def neighbors(self, num_images):
        """Numbers of neighbours among so many training images."""
        return self.num_neighbors or (min(_NEIGHBORS, num_images),)


class KNNResult(NamedTuple):
    """Shares of test rows, and the class of each `[Q]`.

    top5 counts a class only if it has a vote; None for five classes or fewer.
    """

    top1: float
    top5: float | None
    predictions: np.ndarray


def evaluate_knn(
    train_features,
    train_labels,
    test_features,
    test_labels,
    *,
    num_neighbors=20,
    temperature=0.07,
    **knobs,
):
    """`evaluate_knns` of one number of neighbours and one temperature.

    Returns:
      `KNNResult`.
    """
    found = evaluate_knns(
        train_features,
        train_labels,
        test_features,
        test_labels,
        num_neighbors=(num_neighbors,),
        temperatures=(temperature,),
        **knobs,
    )
    return found[num_neighbors, temperature]


def evaluate_knns(
    train_features,
    train_labels,
    test_features,
    test_labels,
    *,
    num_neighbors=(20,),
    temperatures=(0.07,),
    pca_width=None,
    use_faiss=None,
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
      num_neighbors: ints k; there is one search, for the largest. 20 gives
        SwAV's published figure.
      temperatures: positive floats T. 0.07 in Wu et al. and DINO.
      pca_width: int, directions kept by PCA without whitening, fitted on the
        training rows; None for no PCA.
      use_faiss: whether faiss searches; None means: if it is installed and
        there is no GPU, which it would leave idle.
      block_rows: int, bank rows compared at once; bounds the memory.

    Returns:
      `{(k, T): KNNResult}`.

    Raises:
      ValueError: if shapes do not fit, features are not finite, or there are
        fewer training rows than neighbours or directions.

    Source:
      Wu et al. 2018, arXiv:1805.01978, section 3.4.
    """
    bank, bank_labels = checked_rows(train_features, train_labels, "train")
    queries, labels = checked_rows(test_features, test_labels, "test")
    for count in num_neighbors:
        if not 1 <= count <= len(bank):
            raise ValueError(
                "num_neighbors must be at least 1 and at most the number of "
                f"training images. Received: num_neighbors={count}, "
                f"{len(bank)} images."
            )
    for temperature in temperatures:
        if not temperature > 0:
            raise ValueError(
                "temperature must be positive. Received: "
                f"temperature={temperature}. 0.07 is usual."
            )
    import tensorflow as tf

    from tfclust.ops.neighbors import nearest_neighbors

    if pca_width is not None:
        bank, queries = _projected(bank, queries, pca_width)
    if use_faiss is None and tf.config.list_physical_devices("GPU"):
        use_faiss = False
    neighbors = nearest_neighbors(
        bank,
        max(num_neighbors),
        queries=queries,
        metric="cosine",
        use_faiss=use_faiss,
        block_rows=block_rows,
    )
    classes, bank_classes = np.unique(bank_labels, return_inverse=True)
    voters = bank_classes[neighbors.index]  # [Q, k]
    return {
        (count, temperature): _counted(
            neighbors.distances[:, :count],
            voters[:, :count],
            classes,
            labels,
            temperature,
        )
        for count in num_neighbors
        for temperature in temperatures
    }


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
    """Figures of a `Subject`: of the first setting, then of the others."""
    found = evaluate_knns(
        subject.train_features,
        subject.train.labels,
        subject.test_features,
        subject.test.labels,
        num_neighbors=config.neighbors(subject.train.num_images),
        temperatures=config.knn_temperature,
        pca_width=config.knn_pca,
    )
    (first, result), *others = found.items()
    num_images = subject.test.num_images
    figures = {
        "top1": result.top1,
        **chance_of(subject.test.labels),
        "num_neighbors": first[0],
        "temperature": first[1],
    }
    if result.top5 is not None:
        figures["top5"] = result.top5
    figures |= of_shares(figures, ("top1", "top5"), num_images)
    if config.knn_pca is not None:
        figures["pca_width"] = config.knn_pca
    if others:
        figures["others"] = [list(setting) for setting, _ in others]
    for setting, other in others:
        name = _figure(*setting)
        figures[name] = other.top1
        figures |= of_shares(figures, (name,), num_images)
    return figures


def columns(figures):
    """The share classified correctly, by each setting."""
    pca = figures.get("pca_width")
    after = "" if pca is None else f" after PCA-{pca}"
    name = f"{figures['num_neighbors']}-NN"
    found = [
        Column(
            f"weighted {name}{after}, top-1 %",
            "top1",
            percent=True,
            short=name,
            chance="chance",
        )
    ]
    if figures.get("top5") is not None:
        found.append(
            Column(
                f"weighted {name}{after}, top-5 %",
                "top5",
                percent=True,
                said=False,
                chance="top5_chance",
            )
        )
    for count, temperature in figures.get("others", ()):
        found.append(
            Column(
                f"weighted {count}-NN{after}, T = {temperature:g}, top-1 %",
                _figure(count, temperature),
                percent=True,
                said=False,
                chance="chance",
            )
        )
    return tuple(found)


def check_images(config, train, test):
    """Refuses fewer training images than neighbours or PCA's directions."""
    del test
    for name, value in (
        ("num_neighbors", max(config.num_neighbors, default=0)),
        ("knn_pca", config.knn_pca or 0),
    ):
        if value > train.num_images:
            raise ValueError(
                f"{name} must be at most the number of training images. "
                f"Received: {name}={value}, {train.num_images} images in "
                f"{train.uri}. Leave {name} out, or give fewer."
            )


PROTOCOL = Protocol(
    run,
    Config,
    learns=True,
    columns=columns,
    words="weighted k nearest neighbours",
    check=check_images,
    verdict=verdict.of_knn,
)


def _figure(count, temperature):
    """The name of the top-1 of a setting that is not the first."""
    return f"top1_k{count}_t{temperature:g}"


def _projected(bank, queries, width):
    """Both on the bank's directions of largest variance, `[., width]`."""
    from sklearn.decomposition import PCA

    most = min(bank.shape)
    if width > most:
        raise ValueError(
            f"knn_pca must be at most {most}: {len(bank)} training images "
            f"with features of width {bank.shape[1]}. Received: "
            f"knn_pca={width}. Give {most} or less."
        )
    # Of [F, F]: the other solvers decompose, or copy, all rows.
    pca = PCA(width, svd_solver="covariance_eigh").fit(bank)
    return pca.transform(bank), pca.transform(queries)


def _counted(distances, voters, classes, labels, temperature):
    """`KNNResult` of neighbours' distances and classes, both `[Q, k]`."""
    num_best = 5 if len(classes) > 5 else 1
    best = np.empty([len(distances), num_best], np.int64)
    voted = np.empty(best.shape, bool)
    # Relative to the nearest: one common factor for all votes, no overflow.
    relative = distances[:, :1] - distances
    weights = np.exp(relative / np.float64(temperature))  # [Q, k]
    for begin in range(0, len(weights), _VOTE_ROWS):
        some = slice(begin, begin + _VOTE_ROWS)
        block = weights[some]
        rows = np.arange(len(block))[:, None] * len(classes)
        votes = np.bincount(
            (rows + voters[some]).ravel(),
            weights=block.ravel(),
            minlength=len(block) * len(classes),
        )
        votes = votes.reshape(len(block), len(classes))  # [q, C]
        order = np.argsort(-votes, axis=1, kind="stable")[:, :num_best]
        best[some] = order
        voted[some] = np.take_along_axis(votes, order, axis=1) > 0
    predictions = classes[best[:, 0]]
    hits = (classes[best] == labels[:, None]) & voted
    return KNNResult(
        float(np.mean(predictions == labels)),
        float(np.mean(hits.any(axis=1))) if num_best > 1 else None,
        predictions,
    )
