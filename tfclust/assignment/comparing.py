"""Two clusterings of the same images: which clusters are the same ones."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from tfclust.ops import partitions

_MOST = 0.5  # of a cluster's images
_PART = 0.2  # a part of a split or merged cluster has at least so much


class Comparison(NamedTuple):
    """What became of clusters; ids are those of the two clusterings.

    same: list of (old, new, share of both together that both have). split:
    list of (old, list of new). merged: list of (list of old, new). gone, new:
    lists of ids.
    """

    num_shared: int
    ami: float
    same: list
    split: list
    merged: list
    gone: list
    new: list


def compare(old, new):
    """Compares two tables by the names of images.

    Args:
      old: names and clusters `[n]` of the one. new: of the other.

    Returns:
      `Comparison`.

    Raises:
      ValueError: if they share no image.
    """
    before, after = shared(old, new)
    table, of_old, of_new, same = _matched(before, after)
    old_ids, new_ids = np.unique(before), np.unique(after)
    # A part belongs to its whole if most of it comes from there.
    parts = (of_old >= _PART) & (of_new >= _MOST)
    sources = (of_new >= _PART) & (of_old >= _MOST)
    split = [i for i in range(len(old_ids)) if parts[i].sum() > 1]
    merged = [j for j in range(len(new_ids)) if sources[:, j].sum() > 1]
    either = table.sum(axis=1)[:, None] + table.sum(axis=0) - table
    told_old = {i for i, _ in same} | {*split}
    told_new = {j for _, j in same} | {*merged}
    told_old |= {int(i) for j in merged for i in np.flatnonzero(sources[:, j])}
    told_new |= {int(j) for i in split for j in np.flatnonzero(parts[i])}
    return Comparison(
        len(before),
        partitions.ami(before, after),
        [
            (
                int(old_ids[i]),
                int(new_ids[j]),
                float(table[i, j] / either[i, j]),
            )
            for i, j in same
            if i not in split and j not in merged
        ],
        [(int(old_ids[i]), new_ids[parts[i]].tolist()) for i in split],
        [(old_ids[sources[:, j]].tolist(), int(new_ids[j])) for j in merged],
        [int(k) for i, k in enumerate(old_ids) if i not in told_old],
        [int(k) for j, k in enumerate(new_ids) if j not in told_new],
    )


def shared(old, new):
    """Clusters in both of the images that both have, two `[m]`.

    Raises:
      ValueError: if they share no image.
    """
    place = {name: i for i, name in enumerate(old[0])}
    rows = [(place[name], j) for j, name in enumerate(new[0]) if name in place]
    if not rows:
        raise ValueError(
            "two tables are compared by the names of their images, and these "
            f"share none. Received: {_first(old)} and {_first(new)}. Give "
            "tables of the same images."
        )
    before, after = np.array(rows).T
    return np.asarray(old[1])[before], np.asarray(new[1])[after]


def kept_ids(old, new):
    """`{new id: old id}` of clusters that share most of their images.

    Both clusters have most of their (shared) images in common.

    Args: those of `compare`.
    """
    before, after = shared(old, new)
    *_, same = _matched(before, after)
    old_ids, new_ids = np.unique(before), np.unique(after)
    return {int(new_ids[j]): int(old_ids[i]) for i, j in same}


def in_words(found, named=None):
    """Lines that tell a `Comparison`; `named` has the old clusters' names."""
    named = named or {}

    def called(k):
        return f"{k} ({named[k]})" if named.get(k) else str(k)

    yield (
        f"{found.num_shared:,} images are in both tables; the clusters agree "
        f"by {found.ami:.2f} (AMI: 1 the same, 0 chance)."
    )
    for old, new, share in found.same:
        yield f"{called(old)} is now {new}: {share:.0%} of both in common."
    for old, new in found.split:
        yield f"{called(old)} split into {_listed(new)}."
    for old, new in found.merged:
        yield f"{_listed(map(called, old))} merged into {new}."
    if found.gone:
        gone = _listed(map(called, found.gone))
        yield f"Gone, scattered over others: {gone}."
    if found.new:
        yield f"New, from several others: {_listed(found.new)}."


def _matched(before, after):
    """How two clusterings of the same images overlap.

    Returns:
      Counts `[old, new]`, their shares of the old and of the new clusters, and
      pairs (row, column) of the best match that have most in common.
    """
    table = partitions.contingency(before, after).toarray()
    of_old = table / table.sum(axis=1, keepdims=True)
    of_new = table / table.sum(axis=0, keepdims=True)
    # Matched on all counts, a pair could lose to two that are not the same.
    most = np.where((of_old >= _MOST) & (of_new >= _MOST), table, 0)
    pairs = zip(*linear_sum_assignment(most, maximize=True), strict=True)
    same = [(int(i), int(j)) for i, j in pairs if most[i, j]]
    return table, of_old, of_new, same


def _listed(values):
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last


def _first(table):
    return repr(table[0][0]) if len(table[0]) else "an empty table"
