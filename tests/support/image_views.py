"""Views of small noisy images, and their batches as arrays."""

import numpy as np
import tensorflow as tf

from tfclust import data

RNG = np.random.default_rng(0)
SMALL = RNG.integers(0, 256, (30, 20, 20, 3), np.uint8)
LARGE = [RNG.integers(0, 256, (40 + i, 70 - i, 3), np.uint8) for i in range(30)]
MULTI_CROP = {
    "view_sizes": (16, 12),
    "num_views": (2, 3),
    "view_scales": ((0.3, 1.0), (0.1, 0.3)),
}


def views_of(images=SMALL, *, labels=None, batch_size=8, **knobs):
    source = data.ArraySource(images, labels=labels)
    # Below 2 crops of SMALL are plain, and so cut from the store.
    knobs = {**MULTI_CROP, "antialias_from": 2.0, **knobs}
    return data.Views(source, batch_size=batch_size, **knobs)


def arrays(dataset):
    return list(dataset.as_numpy_iterator())


def joined(batches):
    """The arrays of several elements, one after another."""
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *batches)


def assert_same(found, expected):
    tf.nest.map_structure(np.testing.assert_array_equal, found, expected)
