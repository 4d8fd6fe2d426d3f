"""Pixels as numbers for a network."""

import numpy as np
import tensorflow as tf

from tfclust.data.views import photometric
from tfclust.ops.pixels import as_floats


def test_every_pixel_has_the_same_bits_by_whatever_way():
    images = np.arange(256, dtype=np.uint8).reshape(4, 64)
    found = as_floats(images)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(photometric.to_float(images), found)
    theirs = tf.image.convert_image_dtype(images, tf.float32)
    np.testing.assert_array_equal(theirs, found)
    np.testing.assert_allclose(found, images / 255, rtol=1e-6)
