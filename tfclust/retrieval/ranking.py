"""Figures of rankings: classes, and instances with junk.

Classes: every other image of the query's class is to be found. With n of them,
AP is the mean of the precisions at their ranks; R@k whether one is among the
first k; mAP@R stops at rank R = n (Musgrave et al. 2020, arXiv:2003.08505).

Instances (Philbin et al. 2007; Radenovic et al. 2018, arXiv:1803.11285): junk
is taken out of the ranking before ranks are counted, and the area under
precision and recall is by trapezoids: for the j-th of n found at rank r, both
from 0, (j / r + (j + 1) / (r + 1)) / 2n, and 1 for j / r at r = 0.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

AT = (1, 5, 10)
_QUERIES = 256  # in a product


class Judged(NamedTuple):
    """What queries find.

    Attributes:
      values: `{figure: float64 [Q]}` in percent, of the queries that count.
      counts: dict of what is no mean over queries.
    """

    values: dict
    counts: dict

    def figures(self):
        """Means over the queries, 0 without any, and the counts."""
        means = {
            name: float(column.mean()) if len(column) else 0.0
            for name, column in self.values.items()
        }
        return {**means, **self.counts}


class InstanceFigures(NamedTuple):
    """What one query finds."""

    ap: float
    precisions: tuple  # at 1, 5 and 10


def class_figures(gallery, labels, queries=None, query_labels=None):
    """The figures of `judged_by_class`, which takes the same arguments."""
    return judged_by_class(gallery, labels, queries, query_labels).figures()


def judged_by_class(gallery, labels, queries=None, query_labels=None):
    """Retrieval by class, query by query.

    Args:
      gallery: float32 `[N, F]`, unit rows. labels: int `[N]`, -1 for none.
      queries: float32 `[Q, F]`; None for each image of the gallery against all
        others. query_labels: int `[Q]`.

    Returns:
      `Judged` with mAP, R@1, R@5, R@10 and mAP@R, queries (their number) and
      alone (queries of which nothing else has the class; they do not count).
    """
    own = queries is None
    if own:
        queries, query_labels = gallery, labels
    counts = np.array(
        [(labels == label).sum() - own for label in query_labels], np.int64
    )
    counted = np.flatnonzero((counts > 0) & (query_labels >= 0))
    values = np.zeros([len(counted), 2 + len(AT)])
    for start in range(0, len(counted), _QUERIES):
        rows = counted[start : start + _QUERIES]
        scores = queries[rows] @ gallery.T
        if own:
            scores[np.arange(len(rows)), rows] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")
        hits = labels[order] == query_labels[rows, None]
        if own:
            hits[:, -1] = False  # the query itself
        values[start : start + _QUERIES] = _of_hits(hits, counts[rows])
    names = ("mAP", "mAP@R", *(f"R@{k}" for k in AT))
    columns = dict(zip(names, 100 * values.T, strict=True))
    alone = int((query_labels >= 0).sum()) - len(counted)
    return Judged(columns, {"queries": len(counted), "alone": alone})


def chance_figures(labels):
    """What `class_figures` of random rows are expected to be.

    With n of N other images to find, the image at rank k is one of them with
    probability n / N, and the one at another rank then with (n - 1) / (N - 1);
    so rank k adds (1 + (k - 1)(n - 1) / (N - 1)) / (k N) to AP.

    Args:
      labels: int `[N + 1]`, of images each against all others; -1 for none.

    Returns:
      dict: mAP, mAP@R and R@k in percent.
    """
    counts = np.unique(labels[labels >= 0], return_counts=True)[1]
    counts = counts[counts > 1]
    others = len(labels) - 1
    ranks = np.arange(1, others + 1)
    harmonic = np.cumsum(1 / ranks)  # of 1 to N
    sums = np.zeros(2 + len(AT))
    for size in counts:
        found = size - 1
        again = (found - 1) / max(1, others - 1)
        added = [
            (harmonic[last - 1] + again * (last - harmonic[last - 1])) / others
            for last in (others, found)
        ]
        none = stats.hypergeom.pmf(0, others, found, np.minimum(AT, others))
        sums += size * np.array([*added, *(1 - none)])
    means = 100 * sums / max(1, counts.sum())
    names = ("mAP", "mAP@R", *(f"R@{k}" for k in AT))
    return dict(zip(names, map(float, means), strict=True))


def _of_hits(hits, counts):
    """AP, AP@R and R@k of queries, `[q, 5]`, from bool `[q, N]`."""
    ranks = np.arange(1, hits.shape[1] + 1)
    precisions = hits.cumsum(axis=1) / ranks * hits
    within = ranks <= counts[:, None]
    columns = [
        precisions.sum(axis=1) / counts,
        (precisions * within).sum(axis=1) / counts,
        *(hits[:, :k].any(axis=1) for k in AT),
    ]
    return np.stack(columns, axis=1)


def instance_figures(ranking, positives, junk):
    """`InstanceFigures` of one query.

    Args:
      ranking: int `[N]`, images by falling score.
      positives: ints, images to be found, at least one; those not in `ranking`
        count as never found.
      junk: ints, images that neither help nor harm; an image in both is junk.
    """
    is_junk = np.isin(ranking, list(junk))
    kept = ranking[~is_junk]
    ranks = np.flatnonzero(np.isin(kept, list(positives)))
    # As the papers do it: the last rank counted is that of the last positive.
    precisions = []
    for at in AT:
        last = min(at, ranks[-1] + 1) if len(ranks) else at
        precisions.append(float((ranks < last).sum() / last))
    ap = trapezoidal_ap(ranks, len(set(positives) - set(junk)))
    return InstanceFigures(ap, tuple(precisions))


def trapezoidal_ap(ranks, num_positives):
    """The area under precision and recall.

    Args:
      ranks: int `[n]`, rising, from 0: where positives are without junk.
      num_positives: int, at least n.
    """
    found = np.arange(len(ranks))
    before = np.where(ranks == 0, 1.0, found / np.maximum(ranks, 1))
    after = (found + 1) / (ranks + 1)
    return float((before + after).sum() / (2 * num_positives))
