"""Sources of encoded images, which are read again at each use.

Between the check and a later use, a file may disappear, change or lose its
disk. `fetch` then takes the next of the replacements that the caller names, and
lists the failure. It never uses an image that differs from what was checked.
"""

import contextlib
import re

import numpy as np
import tensorflow as tf

from tfclust.data.reading import checking, decoding
from tfclust.data.sources.base import LOST, Source

CHANGED = "changed since the check"


@contextlib.contextmanager
def telling_lost_images():
    """A context that turns TensorFlow's failure into "images are gone".

    What Python code in a pipeline raises comes out as an error of TensorFlow's,
    with a trace in its message.

    Raises:
      OSError: instead of that error.
    """
    try:
        yield
    except tf.errors.OpError as error:
        told = re.search(rf"OSError: (.*?{re.escape(LOST)})", str(error), re.S)
        if told is None:
            raise
        raise OSError(told[1]) from error


class EncodedSource(Source):
    """A source of encoded images; subclasses implement `read`.

    Args:
      uri, manifest: as for `Source`.
      checks: `Checks` of the good images, in index order.
      **rest: the other arguments of `Source`.
    """

    def __init__(self, uri, manifest, checks, **rest):
        super().__init__(uri, manifest, jpeg=checks.jpeg, **rest)
        self._checks = checks
        with tf.device("CPU:0"):
            self._orientations = tf.constant(checks.orientations)
            self._careful = tf.constant(checks.careful)

    def read(self, position):
        """The bytes of an image, and whether they are certainly as checked.

        Raises:
          OSError: if they cannot be read.
        """
        raise NotImplementedError

    def image(self, index, ratio=None):
        data, _ = self.fetch(tf.reshape(index, [1]))
        return self.fetched(data, index, ratio)

    def fetch(self, indices, may_fail=False):
        data, choice = tf.numpy_function(
            self._first_that_may_fail if may_fail else self._first,
            [indices],
            [tf.string, tf.int32],
            # A stateful function would be called by one thread at a time.
            stateful=False,
        )
        return tf.ensure_shape(data, []), tf.ensure_shape(choice, [])

    def fetched(self, data, index, ratio=None):
        return decoding.decode_checked(
            data,
            ratio,
            tf.gather(self._orientations, index),
            tf.gather(self._careful, index),
        )

    def _first(self, indices):
        data, choice = self._first_that_may_fail(indices)
        if choice == len(indices):
            raise self._lost(indices[0], len(indices) - 1)
        return data, choice

    def _first_that_may_fail(self, indices):
        for choice, position in enumerate(indices.tolist()):
            try:
                return self._read_as_checked(position), np.int32(choice)
            except OSError as error:
                reason = error.strerror or str(error)
                self.note_failure(self._manifest.names[position], reason)
        return b"", np.int32(len(indices))

    def _read_as_checked(self, position):
        data, unchanged = self.read(position)
        if not unchanged:
            row = tuple(column[position] for column in self._checks)
            if not checking.still_good(data, row):
                raise OSError(CHANGED)
        return data
