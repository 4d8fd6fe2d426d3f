"""A class for each pixel from a backbone's map: heads, loss, and mIoU."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfclust import backbones, data
from tfclust.engine.losses import ExampleLosses
from tfclust.evaluation import intervals
from tfclust.evaluation.probes import masks
from tfclust.evaluation.probes.trainable import trainable_copy
from tfclust.ops.pixels import as_floats
from tfclust.runtime import replicas

HEADS = ("linear", "fcn")
_WIDTH, _DILATION = 256, 6  # of MoCo's two convolutions


class Confusion(NamedTuple):
    """Pixels of N images by class, int64 `[N, K]` each.

    mIoU needs no more of an image than these three numbers a class; a table
    of true and predicted classes an image, K x K, would be 360 MB for ADE20K's
    2,000 images of 150 classes, and this is 7 MB.

    Attributes:
      right: pixels told right. true: pixels of the class. found: pixels for
      which it was named.
    """

    right: np.ndarray
    true: np.ndarray
    found: np.ndarray

    @classmethod
    def of(cls, tables):
        """Of tables `[N, K, K]`, `[true, predicted]`."""
        tables = np.asarray(tables)
        right = np.diagonal(tables, axis1=1, axis2=2)
        return cls(right, tables.sum(axis=2), tables.sum(axis=1))

    def figures(self):
        """`miou`, the mean over classes that occur, truly or by prediction;
        `pixel_accuracy`; and the same of always naming the largest class."""
        right, true, found = (part.sum(axis=0) for part in self)
        either = true + found - right
        occurs = either > 0
        share = true.max() / true.sum()
        return {
            "miou": float(np.mean(right[occurs] / either[occurs])),
            "pixel_accuracy": float(right.sum() / true.sum()),
            "num_classes_judged": int(occurs.sum()),
            "miou_chance": float(share / np.count_nonzero(true)),
            "pixel_accuracy_chance": float(share),
        }

    def intervals(self, resamples, seed):
        """Intervals of `miou` and `pixel_accuracy`, by images drawn again."""

        def of_draw(rows):
            if not self.true[rows].any():  # all pixels are ignored
                return {"miou": np.nan, "pixel_accuracy": np.nan}
            figures = Confusion(*(part[rows] for part in self)).figures()
            return {n: figures[n] for n in ("miou", "pixel_accuracy")}

        return intervals.of_figures(
            of_draw, len(self.true), resamples=resamples, seed=seed
        )


def trunk_of(network, level, size):
    """The backbone up to a map, a `keras.Model` with weights of its own.

    Args:
      network: `Network` with a Keras model.
      level: int, 2 to 5, of the map with stride 2**level; 0 for the deepest.
      size: int, side of the images.

    Raises:
      ValueError: if there is no such map, or the network takes another size.
    """
    whole = trainable_copy(network)
    maps = backbones.pyramid(whole)
    if not maps or (level and f"P{level}" not in maps):
        raise ValueError(
            "segmentation needs a map of the network. Received: "
            f"segmentation_level={level}; {whole.name} has "
            f"{', '.join(maps) or 'none'}. Give one of them, or another "
            "backbone."
        )
    if whole.input_shape[1] not in (None, size):
        raise ValueError(
            f"{whole.name} takes images of {whole.input_shape[1]} px only. "
            f"Received: segmentation_size={size}. Give that."
        )
    features = maps[f"P{level}"] if level else list(maps.values())[-1]
    return keras.Model(whole.inputs[0], features, name="trunk")


def losses(logits, wanted):
    """Cross-entropy of `[b, h, w, K]` logits with masks `[b, S, S]`."""
    side = wanted.shape[1]
    logits = tf.image.resize(logits, [side, side])  # [b, S, S, K]
    known = wanted != masks.IGNORED
    classes = tf.where(known, tf.cast(wanted, tf.int32), 0)
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
    return ExampleLosses(each, tf.cast(known, tf.float32))


@data.telling_lost_images()
def confusion(tuned, source, size, num_classes, batch_size):
    """The `Confusion` of all test images, at their own size.

    Logits are read at the canvas's pixels, cut to the image, resized to the
    image's size, and the largest class wins.

    Args:
      tuned: callable, float images `[b, S, S, 3]` in [0, 1] to `[b, h, w, K]`.
      source: `data.Source` with masks; these are read after the network.
      size: int S. num_classes: int K. batch_size: int.
    """

    @tf.function(autograph=False)
    def forward(images):
        return tf.image.resize(tuned(as_floats(images)), [size, size])

    # As in `data.ImagePass`.
    forward = forward.get_concrete_function(
        tf.TensorSpec([None, size, size, 3], tf.uint8)
    )
    parts = np.zeros([3, source.num_images, num_classes], np.int64)
    for images, index in masks.whole_images(source, size, batch_size):
        for logits, position in zip(
            forward(images), index.numpy(), strict=True
        ):
            found = predicted(logits, source, position, size)
            table = counted(masks.mask_of(source, position), found, num_classes)
            of_image = Confusion.of(table[None])
            parts[:, position] = np.concatenate(of_image)
    return Confusion(*parts)


def predicted(logits, source, position, size):
    """int `[H, W]` classes of an image from canvas logits `[S, S, K]`."""
    sides = int(source.heights[position]), int(source.widths[position])
    used = [max(1, round(side * size / max(sides))) for side in sides]
    logits = tf.image.resize(logits[: used[0], : used[1]], sides)
    return np.asarray(tf.argmax(logits, axis=-1, output_type=tf.int32))


def counted(mask, found, num_classes):
    """int64 `[K, K]` pixels of a mask by true and predicted class."""
    known = mask != masks.IGNORED
    pairs = mask[known].astype(np.int64) * num_classes + found[known]
    counts = np.bincount(pairs, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def head_of(trunk, kind, num_classes):
    """A head on a trunk's map `[b, h, w, F]`, to logits `[b, h, w, K]`.

    Args:
      kind: "linear", a convolution of 1 x 1; or "fcn", MoCo's two of 3 x 3
        before it.
      num_classes: int K.
    """
    width = trunk.output_shape[-1]
    layers = [keras.Input([None, None, width])]
    if kind == "fcn":
        for place in range(2):
            layers += [
                keras.layers.Conv2D(
                    _WIDTH,
                    3,
                    padding="same",
                    dilation_rate=_DILATION,
                    use_bias=False,
                    name=f"new_conv{place}",
                ),
                keras.layers.BatchNormalization(
                    momentum=0.9,
                    epsilon=1e-5,
                    synchronized=replicas.num_replicas() > 1,
                    name=f"new_norm{place}",
                ),
                keras.layers.ReLU(),
            ]
    last = keras.layers.Conv2D(
        num_classes,
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        name="new_classifier",
    )
    return keras.Sequential([*layers, last], name="new_head")
