"""Some of a source's images as a source of their own."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust.data.sources.base import Manifest, Source

_HELD_OUT_EVERY = 5  # without a second source, every fifth image is for tests


class Sample(Source):
    """Some images of a source, for example evenly spaced ones."""

    def __init__(self, source, rows):
        names, *columns = source.manifest()
        self._source, self._rows = source, np.asarray(rows, np.int64)
        super().__init__(
            source.uri,
            Manifest([names[i] for i in rows], *(c[rows] for c in columns)),
            labels=_of_rows(source.labels, rows),
            label_sets=_of_rows(source.label_sets, rows),
            class_names=source.class_names,
            jpeg=source.jpeg[rows],
            skipped=source.skipped,
            notices=source.notices,
            passed_over=source.passed_over,
        )
        self.has_masks = source.has_masks

    def identities(self):
        identities = self._source.identities()
        return [identities[i] for i in self._rows]

    @property
    def failures(self):
        return self._source.failures

    @failures.setter
    def failures(self, found):
        """Those of the whole source."""

    def mask(self, position):
        return self._source.mask(self._rows[position])

    def when_failing(self, say):
        self._source.when_failing(say)

    def image(self, index, ratio=None):
        return self._source.image(tf.gather(self._rows, index), ratio)

    def fetch(self, indices, may_fail=False):
        return self._source.fetch(tf.gather(self._rows, indices), may_fail)

    def fetched(self, data, index, ratio=None):
        return self._source.fetched(data, tf.gather(self._rows, index), ratio)


def _of_rows(column, rows):
    return None if column is None else column[rows]


def with_class_shares(source, shares):
    """The first images of each class, as many as its share.

    For studies of uneven data: a share of 0.5 for the last of ten classes is
    the light case in SeLa (Asano et al. 2020).

    Args:
      source: a `Source` with labels.
      shares: C floats in [0, 1], by label.

    Returns:
      `Sample` of `source`, in its order; a class of n images keeps n * share,
      rounded. Images without a label, -1, are left out.

    Raises:
      ValueError: if there are no labels, the number of classes is not C, or no
        image is left.
    """
    given = ",".join(f"{share:g}" for share in shares)
    if source.labels is None:
        raise ValueError(
            "class_shares needs labels. Received: class_shares="
            f"{given} for {source.uri} without labels. Leave it out."
        )
    # A label may be any int64.
    num_classes = int(source.labels.max()) + 1
    if len(shares) != num_classes:
        raise ValueError(
            f"class_shares must be one number per class, {num_classes} for "
            f"{source.uri}. Received: {len(shares)}, class_shares={given}."
        )
    kept = np.zeros(source.num_images, bool)
    for label, share in enumerate(shares):
        rows = np.flatnonzero(source.labels == label)
        kept[rows[: round(share * len(rows))]] = True
    if not kept.any():
        raise ValueError(
            f"class_shares must leave an image. Received: class_shares={given} "
            f"for {source.num_images} images of {source.uri}. Raise a share."
        )
    return Sample(source, np.flatnonzero(kept))


def imbalance_shares(source, kind):
    """The shares of classes in SeLa's study of uneven data, for C classes.

    Args:
      source: a `Source` with labels.
      kind: "light": all but half of the last class; "heavy": 1 - c / C of
        class c, counted from 1: of ten classes 90 %, 80 %, ... and none of the
        last.

    Returns:
      C floats, for `with_class_shares`.

    Raises:
      ValueError: if there are no labels, or they leave numbers out.

    Source:
      Asano et al. 2020, arXiv:1911.05371, imbalanced CIFAR-10. That the ramp of
      heavy goes on to the last class is our reading: there is no code for it.
    """
    if source.labels is None:
        raise ValueError(
            f"imbalance needs labels. Received: imbalance={kind} for "
            f"{source.uri} without labels. Leave it out."
        )
    count = int(source.labels.max()) + 1
    if count > source.num_images:
        raise ValueError(
            "imbalance counts classes by their labels, from 0. Received: label "
            f"{count - 1} for {source.num_images} images of {source.uri}. "
            "Number the classes from 0."
        )
    if kind == "light":
        return (1.0,) * (count - 1) + (0.5,)
    return tuple(1 - (c + 1) / count for c in range(count))


class Parts(NamedTuple):
    """A source in two: images to learn from, and others to test on."""

    train: Source
    test: Source


def held_out(source, rows=None):
    """Every fifth image to test on, if there is no second source.

    Images of class folders are in the order of their classes, so each class
    keeps its share.

    Args:
      source: a `Source` of at least two images.
      rows: int `[n]`, the images to take, in order; None for all.

    Returns:
      `Parts` of `source`.
    """
    rows = np.arange(source.num_images) if rows is None else rows
    asked = np.arange(len(rows)) % _HELD_OUT_EVERY == 0
    return Parts(Sample(source, rows[~asked]), Sample(source, rows[asked]))
