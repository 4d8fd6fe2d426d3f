"""What tests probes after an epoch: kept features, or a pass over images."""

import numpy as np
import tensorflow as tf

from tfclust import data

_ROWS = 8192  # scored at once


class FeatureTest:
    """Features of test images that do not change, for a probe of one layer.

    Args:
      name: str, the layer. features: float32 `[Q, F]`. labels: int `[Q]`.
    """

    def __init__(self, name, features, labels):
        self._name, self._features = name, features
        self.labels = np.asarray(labels)

    def scores(self, heads):
        """`{layer: float32 [Q, C]}`; the largest is the answer."""
        head, rows = heads[self._name], self._features
        parts = [
            head(rows[begin : begin + _ROWS], training=False).numpy()
            for begin in range(0, len(rows), _ROWS)
        ]
        return {self._name: np.concatenate(parts)}


class ImageTest:
    """Test images that pass the network for each test; nothing is kept.

    Ten crops of five layers of 50,000 images would take 100 GB.

    Args:
      layers: as `sgd_probe` takes them.
      source: `data.Source` with labels.
      crops: 1, the centre; or 10, of `data.views.passes.ten_crops`.
      mean: what is averaged over crops, "probabilities" or "logits".
      **cut: knobs of `data.ImagePass`.
    """

    def __init__(self, layers, source, *, crops=1, mean="logits", **cut):
        self._layers, self._source = layers, source
        self._crops, self._mean, self._cut = crops, mean, dict(cut)
        # As many images in memory as with one crop.
        self._cut["batch_size"] = max(1, cut["batch_size"] // crops)
        self.labels = source.labels
        self._pass = None

    def scores(self, heads):
        """`{layer: float32 [Q, C]}`; the largest is the answer."""
        if self._pass is None:  # traced once; heads are variables in it
            self._pass = data.ImagePass(
                lambda images: self._scored(images, heads),
                self._source,
                crops="centre" if self._crops == 1 else "ten",
                **self._cut,
            )
        return self._pass.run()

    def _scored(self, images, heads):
        flat = tf.reshape(images, [-1, *images.shape[-3:]])  # [B * crops, ...]
        found = {}
        for name, rows in self._layers(flat).items():
            scores = heads[name](tf.cast(rows, tf.float32), training=False)
            if self._mean == "probabilities":
                scores = tf.nn.softmax(scores)
            by_crop = tf.reshape(
                scores, [-1, self._crops, scores.shape[-1]]
            )  # [B, crops, C]
            found[name] = tf.reduce_mean(by_crop, axis=1)
        return found
