"""Pixels as numbers for a network."""

import tensorflow as tf


def as_floats(images):
    """uint8 images of any shape as float32 in [0, 1]."""
    return tf.cast(images, tf.float32) * (1 / 255)
