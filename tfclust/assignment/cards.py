"""Which images stand for each cluster, and how pure it is."""

from typing import NamedTuple

import numpy as np

MOST_PICTURES = 3_000  # of all clusters together; 6 MB of photos on a page
_NEAREST, _OTHERS = 8, 4  # images of a cluster: nearest; random and farthest


class Cluster(NamedTuple):
    """A cluster on a page; images are positions in the assignment."""

    number: int
    size: int
    nearest: list
    random: list
    farthest: list
    label: str | None  # the commonest, where images have labels
    purity: float | None  # its share
    name: str = ""
    outliers: int | None = None  # where they are known


def cards(
    clusters,
    confidence,
    *,
    labels=None,
    class_names=None,
    names=None,
    outlier=None,
    seed=0,
):
    """A list of `Cluster`, the largest first; empty clusters have none.

    Args:
      clusters: int `[N]`. confidence: float `[N]`, larger is surer.
      labels: int `[N]`, -1 for none; or None.
      class_names: sequence of str by label, or None.
      names: `{cluster: name}` of those that have one, or None.
      outlier: bool `[N]`, or None.
      seed: int, of the random images.
    """
    order = np.lexsort((-confidence, clusters))
    numbers, begins = np.unique(clusters[order], return_index=True)
    random = np.random.default_rng(seed)
    nearest, others = _shares(len(numbers))
    found = []
    for number, rows in zip(
        numbers, np.split(order, begins[1:]) if len(order) else [], strict=True
    ):
        label, purity = _purity(rows, labels, class_names)
        near, some, far = _shown(rows, nearest, others, random)
        card = Cluster(
            int(number),
            len(rows),
            near,
            some,
            far,
            label=label,
            purity=purity,
            name=(names or {}).get(int(number), ""),
            outliers=None if outlier is None else int(outlier[rows].sum()),
        )
        found.append(card)
    return sorted(found, key=lambda cluster: (-cluster.size, cluster.number))


def with_pictures(found):
    """Positions of the images whose pictures the `cards` need.

    Args:
      found: list of `Cluster`, as `cards` gives it; only the first
        `MOST_PICTURES` have any.
    """
    return [
        i
        for card in found[:MOST_PICTURES]
        for i in (*card.nearest, *card.random, *card.farthest)
    ]


def class_name(label, class_names):
    """A label in words."""
    if class_names is not None and 0 <= label < len(class_names):
        return str(class_names[label])
    return str(int(label))


def _shown(rows, nearest, others, random):
    """The first rows, some between at random, and the last, the last first."""
    near, rest = rows[:nearest], rows[nearest:]
    far = rest[len(rest) - min(others, len(rest)) :][::-1]
    middle = rest[: len(rest) - len(far)]
    some = random.choice(middle, min(others, len(middle)), replace=False)
    return near.tolist(), np.sort(some).tolist(), far.tolist()


def _shares(num_clusters):
    """How many images of a cluster are shown: nearest, and of the others."""
    each = MOST_PICTURES // max(1, num_clusters)
    if each >= _NEAREST + 2 * _OTHERS:
        return _NEAREST, _OTHERS
    others = each // 4
    return max(1, each - 2 * others), others


def _purity(rows, labels, class_names):
    if labels is None:
        return None, None
    known = labels[rows]
    known = known[known >= 0]
    if not len(known):
        return None, None
    values, counts = np.unique(known, return_counts=True)
    best = counts.argmax()
    return class_name(values[best], class_names), counts[best] / len(known)
