"""From a feature map to region vectors, and from these to one descriptor.

R-MAC (Tolias et al. 2016, arXiv:1511.05879): the maximum over square windows of
three sizes, which overlap by about 40 %. GeM (Radenovic et al. 2018,
arXiv:1711.02512): the root of the mean of cubes. SPoC (Babenko and Lempitsky
2015, arXiv:1510.07493): the sum, here without its Gaussian prior for the
centre.

Each vector gets length 1, is whitened (`whitening`), gets length 1 again; the
sum over an image's regions, at length 1, is its descriptor.
"""

import numpy as np

from tfclust.ops.units import unit_rows

LEVELS = 3
_OVERLAP = 0.4
_MOST_EXTRA = 6  # windows along the long side beyond those along the short
_POWER = 3.0  # of GeM
_LEAST = 1e-6  # of a value, so that its root has a slope; GeM


def windows(height, width):
    """R-MAC's windows on a map, as (top, left, side).

    Level l has windows of side floor(2 w / (l + 1)), w the short side, l of
    them along it and some more along the long side, at even distances. How many
    more is chosen so that two neighbours of the largest overlap by nearly 40 %
    of their area.

    Returns:
      list of tuples of ints; in the order of levels, rows, columns.
    """
    extra_down, extra_right = _extra(height, width)
    found = []
    for level in range(1, LEVELS + 1):
        side = 2 * min(height, width) // (level + 1)
        if side < 1:
            continue
        tops = _positions(height, side, level + extra_down)
        lefts = _positions(width, side, level + extra_right)
        found += [(top, left, side) for top in tops for left in lefts]
    return found


def rmac(feature_map):
    """`[h, w, C]` to region vectors `[r, C]`."""
    height, width, _ = feature_map.shape
    return np.stack(
        [
            feature_map[top : top + side, left : left + side].max(axis=(0, 1))
            for top, left, side in windows(height, width)
        ]
    )


def gem(feature_map):
    """`[h, w, C]` to one vector `[1, C]`."""
    cubes = np.maximum(feature_map.astype(np.float64), _LEAST) ** _POWER
    return (cubes.mean(axis=(0, 1)) ** (1 / _POWER))[None]


def spoc(feature_map):
    """`[h, w, C]` to one vector `[1, C]`."""
    return feature_map.sum(axis=(0, 1), dtype=np.float64)[None]


POOLINGS = {"rmac": rmac, "gem": gem, "spoc": spoc}


def descriptor(regions, whitening=None):
    """float32 `[D]` of length 1 from region vectors `[r, C]`.

    Args:
      regions: as a pooling gives them.
      whitening: `whitening.Whitening`, or None.
    """
    rows = unit_rows(regions.astype(np.float64))
    if whitening is not None:
        rows = unit_rows(whitening.apply(rows))
    return unit_rows(rows.sum(axis=0, keepdims=True))[0].astype(np.float32)


def _extra(height, width):
    """How many more windows there are downwards and to the right."""
    if height == width:
        return 0, 0
    short, long = sorted((height, width))
    steps = np.arange(1, _MOST_EXTRA + 1)
    between = (long - short) / steps
    overlap = (short**2 - short * between) / short**2
    extra = int(np.abs(overlap - _OVERLAP).argmin()) + 1
    return (extra, 0) if height > width else (0, extra)


def _positions(length, side, count):
    """Where `count` windows begin."""
    if count == 1:
        return [0]
    return [i * (length - side) // (count - 1) for i in range(count)]
