"""The images that excite each channel of a network's maps most.

How much an image excites a channel is the largest value anywhere in its map.
One pass over the images keeps the few largest of each channel, and what tells
how the channel varies: memory does not grow with the number of images.
"""

from typing import NamedTuple

import numpy as np


class Excited(NamedTuple):
    """What excites the C channels of a layer.

    Attributes:
      values: float32 `[n, C]`, the n largest, falling.
      rows: int64 `[n, C]`, their images; of equal ones the first.
      smallest: float32 `[C]`.
      variance: float64 `[C]`, over the images.
    """

    values: np.ndarray
    rows: np.ndarray
    smallest: np.ndarray
    variance: np.ndarray

    @property
    def varies(self):
        """bool `[C]`: whether a channel tells any two images apart."""
        return self.values[0] > self.smallest


class Running:
    """`Excited` of images that come batch by batch, in any order.

    Args:
      count: int n.
    """

    def __init__(self, count):
        self._count = count
        self._best = None
        self._num, self._mean, self._squares = 0, np.zeros(()), np.zeros(())

    def add(self, rows, values):
        """Adds images.

        Args:
          rows: int64 `[b]`, each once in all.
          values: float32 `[b, C]`, finite.
        """
        if not len(rows):
            return
        self._add_moments(values.astype(np.float64))
        smallest = values.min(axis=0)
        rows = np.broadcast_to(rows[:, None], values.shape)
        if self._best is not None:
            old_values, old_rows, old_smallest = self._best
            values = np.concatenate([old_values, values])
            rows = np.concatenate([old_rows, rows])
            smallest = np.minimum(smallest, old_smallest)
        order = np.lexsort((rows, -values), axis=0)[: self._count]
        self._best = (
            np.take_along_axis(values, order, 0),
            np.take_along_axis(rows, order, 0),
            smallest,
        )

    def result(self):
        """`Excited`, or None if there was no image."""
        if self._best is None:
            return None
        values, rows, smallest = self._best
        return Excited(values, rows, smallest, self._squares / self._num)

    def _add_moments(self, values):
        """Joins means and squared deviations (Chan et al. 1979)."""
        count, mean = len(values), values.mean(axis=0)
        total = self._num + count
        apart = mean - self._mean
        self._squares = (
            self._squares
            + ((values - mean) ** 2).sum(axis=0)
            + apart**2 * self._num * count / total
        )
        self._mean = self._mean + apart * count / total
        self._num = total


def excited(model, maps, source, count, **passes):
    """What excites the channels of several maps, in one pass.

    Images that could not be read, in whose place the pass saw others, count
    for nothing.

    Args:
      model: a functional `keras.Model`.
      maps: `{name: [B, h, w, C]}`, symbolic tensors of `model`.
      source: `data.Source`.
      count: int n, images a channel.
      **passes: knobs of `data.ImagePass`.

    Returns:
      `{name: Excited}`.

    Raises:
      ValueError: if a value is not finite, or no image can be read.
      OSError: if images are gone, and their replacements too.
    """
    import keras
    import tensorflow as tf

    from tfclust import data

    network = keras.Model(model.inputs[0], maps)

    def strongest(images):
        return {
            name: tf.reduce_max(tf.cast(found, tf.float32), axis=[1, 2])
            for name, found in network(images, training=False).items()
        }

    images = data.ImagePass(strongest, source, **passes)
    running = {name: Running(count) for name in maps}
    with data.telling_lost_images():
        for index, found in images.batches():
            seen = _present(source, index)
            for name, values in found.items():
                _check_finite(values, name, source)
                running[name].add(index[seen], values[seen])
    results = {name: of.result() for name, of in running.items()}
    if None in results.values():
        raise ValueError(f"no image of {source.uri} could be read.")
    return results


def _present(source, index):
    """bool `[b]`: whether a row is that of its own image."""
    if not source.failures:
        return np.ones(len(index), bool)
    names = source.manifest().names
    return np.array([names[i] not in source.failures for i in index])


def _check_finite(values, name, source):
    if not np.isfinite(values).all():
        raise ValueError(
            f"maps must be finite. Received: NaN or infinity in {name} of "
            f"images of {source.uri}. The training has diverged: lower "
            "learning_rate, or evaluate an older checkpoint."
        )
