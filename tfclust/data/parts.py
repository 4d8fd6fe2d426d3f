"""Some of a source's images as a source of their own."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust.data.source import Manifest, Source

_HELD_OUT_EVERY = 5  # without a second source, every fifth image is a test


class Sample(Source):
    """So many images of a source, such as evenly spaced over it."""

    def __init__(self, source, rows):
        names, *columns = source.manifest()
        self._source, self._rows = source, np.asarray(rows, np.int64)
        super().__init__(
            source.uri,
            Manifest([names[i] for i in rows], *(c[rows] for c in columns)),
            labels=None if source.labels is None else source.labels[rows],
            class_names=source.class_names,
            jpeg=source.jpeg[rows],
        )

    def identities(self):
        identities = self._source.identities()
        return [identities[i] for i in self._rows]

    def image(self, index, ratio=None):
        return self._source.image(tf.gather(self._rows, index), ratio)


class Parts(NamedTuple):
    """A source in two: images to learn from, and others to test on."""

    train: Source
    test: Source


def held_out(source, rows=None):
    """Every fifth image to test on, where there is no second source.

    Images of class folders are in the order of their classes, so that each
    class keeps its share.

    Args:
      source: a `Source` of at least two images.
      rows: int `[n]`, the images to take, in order; None for all.

    Returns:
      `Parts` of `source`.
    """
    rows = np.arange(source.num_images) if rows is None else rows
    asked = np.arange(len(rows)) % _HELD_OUT_EVERY == 0
    return Parts(Sample(source, rows[~asked]), Sample(source, rows[asked]))
