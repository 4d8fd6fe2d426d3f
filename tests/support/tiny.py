"""Small models and images for tests of methods."""

import keras
import numpy as np
from sklearn.datasets import load_digits

from tfclust import data

NUM_IMAGES = 64


def tiny_backbone(width=6, batch_norm=False):
    """A convolution and average pooling: what `oracles.features` computes.

    Without `batch_norm`, which stands between the two.
    """
    keras.utils.set_random_seed(3)
    images = keras.Input([None, None, 3])
    # ELU has no kink, where central differences are half the derivative.
    x = keras.layers.Conv2D(width, 3, strides=2, activation="elu")(images)
    if batch_norm:
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, x, name="tiny")


def digits(num_images=NUM_IMAGES, labels=None):
    """The first handwritten digits as an uint8 source of 16 x 16 RGB."""
    images = load_digits().images[:num_images].repeat(2, 1).repeat(2, 2)
    images = np.uint8(images * 15.9)[..., None].repeat(3, -1)
    return data.ArraySource(images, labels=labels)


def two_views(source=None, *, batch_size=64, seed=0, **knobs):
    """Two global views of 12 px, without flips."""
    knobs = {
        "view_sizes": (12,),
        "num_views": (2,),
        "view_scales": ((0.4, 1.0),),
        "flip_probability": 0.0,
        "antialias_from": 2.0,  # crops of a set in memory are quicker plain
        **knobs,
    }
    source = source or digits()
    return data.Views(
        source, batch_size=batch_size, seed=seed, image_size=12, **knobs
    )
