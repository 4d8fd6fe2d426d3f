"""A network and the images it is measured on; features are computed once.

Protocols see features and labels. Only those that learn from new crops in each
epoch go back to the images.
"""

import functools

import numpy as np
import tensorflow as tf

from tfclust import data
from tfclust.evaluation.feature_store import key_of
from tfclust.evaluation.network import as_network
from tfclust.evaluation.probes.resuming import Keeper
from tfclust.evaluation.rows import num_bad
from tfclust.runtime import sharing

# Two crops of an image share at least what both see of its middle.
_CROP_SCALES = (0.4, 1.0)


class Subject:
    """One network on a training and a test source.

    Args:
      network: `Network`, or a callable: float32 images `[B, S, S, 3]` in
        [0, 1] to `[B, F]`.
      train: `data.Source` that protocols may learn from, or None.
      test: `data.Source` on which figures are measured.
      image_size: int S, side of the centre crop.
      resize_size: int, short side before the crop; None for
        `data.default_resize(image_size)`.
      batch_size: int, images in a forward pass.
      store: `FeatureStore` where features are kept for the next evaluation,
        or None.
    """

    def __init__(
        self,
        network,
        train,
        test,
        *,
        image_size,
        resize_size=None,
        batch_size=256,
        store=None,
    ):
        self.network = as_network(network)
        self.train, self.test = train, test
        self.image_size, self.resize_size = image_size, resize_size
        self.batch_size = batch_size
        self._store = store

    @property
    def backbone(self):
        """Images to features."""
        return self.network.features

    @functools.cached_property
    def train_features(self):
        """float32 `[N, F]` of the training source."""
        return self._extract(self.train)

    @functools.cached_property
    def test_features(self):
        """float32 `[N, F]` of the test source."""
        return self._extract(self.test)

    @functools.cached_property
    def crop_features(self):
        """float32 `[2, N, F]` of two random crops of the test source's images.

        Half the width of training's crops is left at least, without mirroring
        or changes of colour.
        """
        return self._kept(
            self.test,
            "two crops",
            lambda: _crop_features(
                self.backbone,
                self.test,
                self.image_size,
                self.batch_size,
                self.network.strategy,
            ),
        )

    def clusters(self, source):
        """int64 `[N]`, the method's own cluster of each image of `source`.

        None for a network without clusters of its own.
        """
        if self.network.clusters is None:
            return None

        def compute(images):
            return tf.cast(self.network.clusters(images), tf.int64)

        return self._kept(
            source,
            "own clusters",
            lambda: data.ImagePass(compute, source, **self.passes).run(),
        )

    def _extract(self, source):
        return self._kept(
            source,
            "features",
            lambda: extract_features(self.backbone, source, **self.passes),
        )

    @property
    def passes(self):
        """`cut`, and what shares a pass of the network over images."""
        return {**self.cut, "strategy": self.network.strategy}

    @property
    def cut(self):
        """How images are cut, as knobs of `data.ImagePass`."""
        return {
            "image_size": self.image_size,
            "resize_size": self.resize_size,
            "batch_size": self.batch_size,
        }

    def keeper(self, source, what, **about):
        """The `Keeper` of a training on a source; None if nothing is kept.

        Args:
          source: `data.Source`.
          what: str, which training.
          **about: for JSON, all else that it depends on.
        """
        if self._store is None or not self.network.digest:
            return None
        key = key_of(self.network.digest, source, what, **about)
        return Keeper(self._store, key)

    def _kept(self, source, what, compute):
        """What the store has, or else what `compute` gives, which it keeps."""
        if self._store is None or not self.network.digest:
            return compute()
        size = self.image_size
        key = key_of(
            self.network.digest,
            source,
            what,
            image_size=size,
            resize_size=self.resize_size or data.default_resize(size),
        )
        found = self._store.get(key)
        if found is not None:
            return found
        rows = compute()
        # Rows of images that have replaced others are not those of the key.
        if not source.failures:
            self._store.put(key, rows)
        return rows


class FeaturePass:
    """A pass over all images of a source, traced once and run any often.

    Args:
      backbone: callable, float32 images `[B, S, S, 3]` in [0, 1] to `[B, F]`;
        traced without AutoGraph, so it must branch on tensors by `tf.cond`.
      source: `data.Source`.
      **knobs: those of `data.ImagePass`.
    """

    def __init__(self, backbone, source, **knobs):
        def forward(images):
            return tf.cast(backbone(images), tf.float32)

        self.source = source
        self._pass = data.ImagePass(forward, source, **knobs)

    def features(self):
        """float32 `[N, F]`, in index order.

        Raises:
          ValueError: if the backbone returns anything but finite rows of
            numbers.
          OSError: if images are gone, and their replacements too.
        """
        found = self._pass.run()
        _check_rank(found)
        _check_finite(found, self.source)
        return found


def extract_features(backbone, source, **knobs):
    """The features of one `FeaturePass`, which takes the same arguments."""
    return FeaturePass(backbone, source, **knobs).features()


@data.telling_lost_images()
def _crop_features(backbone, source, image_size, batch_size, strategy):
    strategy = strategy or tf.distribute.get_strategy()
    count = strategy.num_replicas_in_sync
    whole = min(batch_size, source.num_images) // count * count
    views = data.Views(
        source,
        batch_size=min(batch_size, source.num_images),
        view_sizes=(image_size,),
        num_views=(2,),
        view_scales=(_CROP_SCALES,),
        augmentation="none",
    )

    def make_batches(**shards):
        return views.extraction_batches(
            "train", batch_size=max(count, whole), **shards
        )

    def forward(batch):
        (crops,) = views.on_device(batch)  # [2, b, S, S, 3]
        features = [backbone(crop) for crop in tf.unstack(crops)]
        return tf.cast(tf.stack(features, axis=1), tf.float32)  # [b, 2, F]

    @tf.function(autograph=False)
    def run(batch):
        return strategy.run(forward, args=(batch,))

    found = np.empty([2, source.num_images, 0], np.float32)
    compute = None
    for batch in sharing.distribute(strategy, make_batches):
        # As in `data.ImagePass`.
        compute = compute or run.get_concrete_function(batch)
        rows = sharing.whole(strategy, compute(batch))
        index = sharing.whole(strategy, batch["index"])
        kept = sharing.whole(strategy, batch["mask"])
        if not found.size:
            found = np.empty([*found.shape[:2], rows.shape[-1]], np.float32)
        found[:, index[kept]] = rows[kept].swapaxes(0, 1)
    for rows in found:
        _check_finite(rows, source)
    return found


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
