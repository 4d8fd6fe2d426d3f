"""A backbone and the images it is measured on; features are computed once.

Protocols see features and labels. Only SwAV's linear protocol goes back to the
images, for new crops in each epoch.
"""

import functools

import numpy as np
import tensorflow as tf

from tfclust import data
from tfclust.evaluation.rows import num_bad

# Beyond this the flattened pixels of ImageNet's images would need 16 GB.
PIXEL_SIDE = 32


class Subject:
    """One backbone on a training and a test source.

    Args:
      backbone: callable, float32 images `[B, S, S, 3]` in [0, 1] to `[B, F]`.
      train: `data.Source` that protocols may learn from, or None.
      test: `data.Source` on which figures are measured.
      image_size: int S, side of the centre crop.
      resize_size: int, short side before the crop; None for
        `data.default_resize(image_size)`.
      batch_size: int, images in a forward pass.
    """

    def __init__(
        self,
        backbone,
        train,
        test,
        *,
        image_size,
        resize_size=None,
        batch_size=256,
    ):
        self.backbone = backbone
        self.train, self.test = train, test
        self.image_size, self.resize_size = image_size, resize_size
        self.batch_size = batch_size

    @functools.cached_property
    def train_features(self):
        """float32 `[N, F]` of the training source."""
        return self._extract(self.train)

    @functools.cached_property
    def test_features(self):
        """float32 `[N, F]` of the test source."""
        return self._extract(self.test)

    def _extract(self, source):
        return extract_features(
            self.backbone,
            source,
            image_size=self.image_size,
            resize_size=self.resize_size,
            batch_size=self.batch_size,
        )


def extract_features(
    backbone, source, *, image_size, resize_size=None, batch_size=256
):
    """Features of all images of a source, in index order.

    Args:
      backbone: callable, float32 images `[B, S, S, 3]` in [0, 1] to `[B, F]`;
        traced without AutoGraph, so it must branch on tensors by `tf.cond`.
      source: `data.Source`.
      image_size: int S, side of the centre crop.
      resize_size: int, short side before the crop; None for
        `data.default_resize(image_size)`.
      batch_size: int, images in a forward pass.

    Returns:
      float32 `[N, F]`.

    Raises:
      ValueError: if the backbone returns anything but finite rows of numbers.
      OSError: if images are gone, and their replacements too.
    """

    def forward(images):
        return tf.cast(backbone(images), tf.float32)

    features = data.map_images(
        forward,
        source,
        image_size=image_size,
        resize_size=resize_size,
        batch_size=batch_size,
    )
    _check_rank(features)
    _check_finite(features, source)
    return features


def pixels(images):
    """The baseline without a network: the image's own pixels, flattened.

    Larger images are averaged down to `PIXEL_SIDE`. Values are divided by the
    root of their number, so that rows have at most length 1 and SGD's published
    rate is stable. This does not change cosines, standardised features or
    clusters.

    Args:
      images: float32 `[B, S, S, 3]` in [0, 1].

    Returns:
      float32 `[B, F]`, F = 3 * min(S, 32)^2.
    """
    if images.shape[1] > PIXEL_SIDE:
        images = tf.image.resize(
            images, [PIXEL_SIDE, PIXEL_SIDE], antialias=True
        )
    num_values = int(np.prod(images.shape[1:]))
    return tf.reshape(images, [-1, num_values]) / num_values**0.5


def _check_rank(rows):
    if rows.ndim != 2:
        raise ValueError(
            "a backbone must return features [B, F]. Received: shape "
            f"{rows.shape}. Wrap it in tfclust.backbones.adapt."
        )


def _check_finite(features, source):
    bad = num_bad(features)
    if bad:
        raise ValueError(
            f"features must be finite. Received: NaN or infinity for {bad} of "
            f"{len(features)} images of {source.uri}. The training has "
            "diverged: lower learning_rate, or evaluate an older checkpoint."
        )
