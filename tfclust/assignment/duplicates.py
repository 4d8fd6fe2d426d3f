"""Near duplicates: images whose features are almost the same.

Images are compared with those of their own cluster and, to find pairs on a
border, with those of the cluster that they lie nearest to next: for a million
images in a thousand clusters that is a thousandth of all pairs. The time grows
with the square of a cluster, so a very large one falls into parts first.
"""

import numpy as np
import tensorflow as tf

from tfclust import data
from tfclust.runtime import progress

PROBES = 128  # images that are changed to measure the threshold
_BLOCK = 1024
# A cluster of more images falls into parts of about so many: all pairs of a
# million would take 36 minutes at 128 features, those in parts 9. Of copies at
# a tenth of the distance of unlike images, ten parts of normal rows miss 3 to
# 6 %, at the quarter that is the limit 7 to 12 %. More parts miss more.
_LARGE, _PART = 65_536, 32_768
# A change that people call none: 3 % less at each side, 5 % brighter, and saved
# again.
_TRIMMED, _BRIGHTER, _QUALITY = 0.03, 1.05, 75
# Nine of ten changed copies are found.
_FOUND = 0.9
# An image and a changed copy must lie nearer than this share of the distance
# of unlike images, or features do not tell the two apart.
_OF_UNLIKE = 0.25
_NOISE = 1e-6  # float32 features of equal images


def measured_distance(model, source, rows, features, seed=0):
    """How far apart near duplicates may lie, as 1 - cosine.

    Args:
      model: `Model`. source: `data.Source`.
      rows: int `[n]`, indices in the source.
      features: `UnitFeatures` of these images.
      seed: int, of the pairs of unlike images.

    Returns:
      float: the distance within which nine of ten images lie from a slightly
      changed copy of themselves, at most a quarter of the lower tail of
      distances of images drawn at random.
    """
    probes = features.sample(PROBES)
    changed = _features_of_changes(model, data.Sample(source, rows[probes]))
    apart = 1 - np.einsum("nf,nf->n", features.take(probes), changed)
    random = np.random.default_rng(seed)
    pairs = random.integers(len(features), size=(2, 8 * PROBES))
    pairs = pairs[:, pairs[0] != pairs[1]]
    limit = np.inf
    if pairs.size:
        unlike = 1 - np.einsum("nf,nf->n", *map(features.take, pairs))
        limit = _OF_UNLIKE * np.quantile(unlike, 0.05)
    return float(max(_NOISE, min(np.quantile(apart, _FOUND), limit)))


def _features_of_changes(model, sample):
    """Unit features of slightly changed images, `[n, F]`."""

    def features(images):
        found = model.compute(_changed(images))["features"]
        return tf.math.l2_normalize(found, axis=1)

    return data.ImagePass(
        features,
        sample,
        image_size=model.image_size,
        resize_size=model.resize_size,
        batch_size=64,
    ).run()


def _changed(images):
    """`[B, S, S, 3]` in [0, 1], a little trimmed, brighter and compressed."""
    size = images.shape[1:3]
    count = tf.shape(images)[0]
    box = tf.constant([[_TRIMMED, _TRIMMED, 1 - _TRIMMED, 1 - _TRIMMED]])
    trimmed = tf.image.crop_and_resize(
        images, tf.tile(box, [count, 1]), tf.range(count), size
    )
    brighter = tf.clip_by_value(trimmed * _BRIGHTER, 0.0, 1.0)
    return tf.map_fn(
        lambda image: tf.image.adjust_jpeg_quality(image, _QUALITY), brighter
    )


def find(features, labels, second, distance):
    """The first image that each is a near duplicate of.

    Args:
      features: `UnitFeatures`. labels: int `[n]`. second: int `[n]`, -1 for
        none.
      distance: float, 1 - cosine at most.

    Returns:
      int64 `[n]`: a position in [0, n) lower than the image's own, of an image
      that is no duplicate itself; -1 for none.
    """
    first = np.full(len(features), -1)
    least = np.float32(1 - max(distance, _NOISE))
    labels, *seconds = _in_parts(features, labels, second)
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels))[:-1]
    clusters = np.split(order, ends)
    with progress.line("Duplicates in clusters", len(features)) as line:
        for members in clusters:
            _within(features, members, least, first)
            line.update(len(members))
    with progress.line("Duplicates across borders", len(features)) as line:
        for k, members in enumerate(clusters):
            near = np.any([second == k for second in seconds], axis=0)
            others = np.flatnonzero(near & (first < 0))
            bank = members[first[members] < 0]
            _across(features, bank, others, least, first)
            line.update(len(members))
    return _roots(first)


def _in_parts(features, labels, second):
    """Clusters none of which is very large, and two to compare with.

    Returns:
      labels `[n]`; second `[n]`, whose large clusters are parts as well; and
      the next part of the own cluster `[n]`, -1 for none.
    """
    labels, second = labels.copy(), second.copy()
    inner = np.full(len(labels), -1)
    free = max(labels.max(), second.max()) + 1
    for k in np.flatnonzero(np.bincount(labels) > _LARGE):
        members, others = (np.flatnonzero(x == k) for x in (labels, second))
        count = -(-len(members) // _PART)
        middles = members[np.arange(count) * len(members) // count]
        middles = features.take(middles)
        numbers = np.r_[k, free : free + count - 1]
        free += count - 1
        nearest, after = _two_nearest(features, members, middles)
        labels[members], inner[members] = numbers[nearest], numbers[after]
        second[others] = numbers[_two_nearest(features, others, middles)[0]]
    return labels, second, inner


def _two_nearest(features, positions, middles):
    """The nearest of two or more `middles` and the next, int `[2, m]`."""
    found = np.empty([2, len(positions)], np.int64)
    for begin in range(0, len(positions), _BLOCK):
        some = slice(begin, begin + _BLOCK)
        cosines = features.take(positions[some]) @ middles.T
        found[:, some] = cosines.argpartition(-2)[:, :-3:-1].T
    return found


def known(features, bank, distance):
    """The nearest of other images, `[n]`; -1 if none is a near duplicate.

    Args:
      features: `UnitFeatures`. bank: `UnitFeatures` of the other images.
      distance: float, 1 - cosine at most.
    """
    found = np.full(len(features), -1)
    best = np.full(len(features), np.float32(1 - max(distance, _NOISE)))
    for some, rows in features.blocks():
        for part, others in bank.blocks():
            for begin in range(0, len(rows), _BLOCK):
                here = slice(some.start + begin, some.start + begin + _BLOCK)
                here = slice(here.start, min(here.stop, some.stop))
                cosines = rows[begin : begin + _BLOCK] @ others.T
                column = cosines.argmax(axis=1)
                value = np.take_along_axis(cosines, column[:, None], 1)[:, 0]
                nearer = value >= best[here]
                found[here] = np.where(nearer, part.start + column, found[here])
                best[here] = np.where(nearer, value, best[here])
    return found


def _within(features, members, least, first):
    """Marks duplicates among `members`, ascending; the first ones stay."""
    kept = np.empty(0, np.int64)
    for begin in range(0, len(members), _BLOCK):
        some = members[begin : begin + _BLOCK]
        rows = features.take(some)
        for start in range(0, len(kept), _BLOCK):
            bank = kept[start : start + _BLOCK]
            free = first[some] < 0
            _mark(rows @ features.take(bank).T, some, bank, free, least, first)
        cosines = rows @ rows.T >= least
        for i in np.flatnonzero(first[some] < 0):
            if first[some[i]] < 0:
                later = np.flatnonzero(cosines[i, i + 1 :]) + i + 1
                later = some[later]
                first[later[first[later] < 0]] = some[i]
        kept = np.concatenate([kept, some[first[some] < 0]])


def _mark(cosines, queries, bank, free, least, first):
    """Marks queries by the first near image of the bank."""
    near = cosines >= least
    hit = near.any(axis=1) & free
    first[queries[hit]] = bank[near[hit].argmax(axis=1)]


def _across(features, bank, others, least, first):
    """Marks duplicates of two clusters; of a pair, the later one."""
    for begin in range(0, len(others), _BLOCK):
        some = others[begin : begin + _BLOCK]
        rows = features.take(some)
        for start in range(0, len(bank), _BLOCK):
            part = bank[start : start + _BLOCK]
            cosines = rows @ features.take(part).T
            best = cosines.argmax(axis=1)
            near = np.take_along_axis(cosines, best[:, None], 1)[:, 0] >= least
            for i in np.flatnonzero(near):
                early, late = sorted((int(some[i]), int(part[best[i]])))
                if first[late] < 0 and first[early] < 0:
                    first[late] = early


def _roots(first):
    """Follows duplicates of duplicates to the image that is none."""
    while True:
        onward = np.where(first >= 0, first[first], -1)
        if (onward < 0).all():
            return first
        first = np.where(onward >= 0, onward, first)
