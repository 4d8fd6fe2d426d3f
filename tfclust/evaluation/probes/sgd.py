"""The linear probe of SwAV and DeepCluster-v2: SGD on random crops.

Follows facebookresearch/swav `eval_linear.py` at 06b1b7c. Differs: the last
epoch counts, not the best by test accuracy, which is given beside it under its
own name; an epoch leaves out the images that do not fill a batch.
"""

import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfclust import data, optimizers
from tfclust.evaluation.probes.logistic import (
    Weights,
    logits,
)
from tfclust.evaluation.rows import checked_rows


class SGDResult(NamedTuple):
    """Shares of test images classified right, and the layer itself."""

    top1: float  # after the last epoch
    best_epoch_top1: float  # selected by the test set, as the source reports
    predictions: np.ndarray  # [Q], after the last epoch
    weights: Weights


@data.telling_lost_images()
def sgd_probe(
    backbone,
    train,
    test_features,
    test_labels,
    *,
    image_size,
    epochs=100,
    learning_rate=0.3,
    weight_decay=1e-6,
    batch_size=256,
    seed=0,
    test_every_epoch=True,
):
    """Trains a linear layer on a frozen backbone's features of random crops.

    SGD with momentum 0.9, the rate falling as a cosine by epoch to 0; crops of
    0.08 to 1 of the area and flips, no colour; kernel from N(0, 0.01).

    Args:
      backbone: callable, float32 images `[B, S, S, 3]` in [0, 1] to `[B, F]`;
        frozen, in inference mode.
      train: `data.Source` with labels.
      test_features: `[Q, F]` float, of centre crops.
      test_labels: `[Q]` int.
      image_size: int S, side of the crops.
      epochs: int. 100 in SwAV.
      learning_rate: float, of the first epoch. 0.3 in SwAV, at batch 256.
      weight_decay: float, L2 inside the momentum. 1e-6 in SwAV.
      batch_size: int. 256 in SwAV; all images if there are fewer.
      seed: int, of the crops and the kernel.
      test_every_epoch: whether to find the best epoch as well; otherwise
        `best_epoch_top1` is the last epoch's.

    Returns:
      `SGDResult`.

    Raises:
      ValueError: if shapes do not fit, features are not finite, or there is
        only one class.
      OSError: if images are gone, and their replacements too.

    Source:
      Caron et al. 2020, arXiv:2006.09882, A.3, and swav `eval_linear.py`.
    """
    features, labels = checked_rows(test_features, test_labels, "test")
    classes, targets = np.unique(train.labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            "the training labels must hold at least two classes for a linear "
            f"probe. Received: {len(classes)} classes."
        )
    views = data.Views(
        train,
        view_sizes=(image_size,),
        num_views=(1,),
        view_scales=((0.08, 1.0),),
        antialias_from=1.0,  # as the images that test the layer
        augmentation="none",
        flip_probability=0.5,
        batch_size=min(batch_size, train.num_images),
        seed=seed,
    )
    layer = _linear_layer(features.shape[1], len(classes), seed)
    optimizer = optimizers.SGD(
        learning_rate, momentum=0.9, weight_decay=weight_decay
    )
    optimizer.build(layer.trainable_variables)
    step = _train_step(backbone, views, tf.constant(targets), layer, optimizer)
    history = []
    for epoch in range(epochs):
        cosine = (1 + math.cos(math.pi * epoch / epochs)) / 2
        optimizer.learning_rate = learning_rate * cosine
        for batch in views.batches(epoch):
            step(batch)
        if test_every_epoch or epoch == epochs - 1:
            weights = Weights(layer.kernel.numpy(), layer.bias.numpy())
            scores = logits(weights, features)  # [Q, C]
            predictions = classes[scores.argmax(axis=1)]
            history.append(float(np.mean(predictions == labels)))
    return SGDResult(history[-1], max(history), predictions, weights)


def _linear_layer(width, num_classes, seed):
    layer = keras.layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.RandomNormal(
            stddev=0.01, seed=seed
        ),
        dtype="float32",
        name="probe",
    )
    layer.build([None, width])
    return layer


def _train_step(backbone, views, targets, layer, optimizer):
    """A compiled step of the probe on a batch of `views`."""

    @tf.function(autograph=False)
    def step(batch):
        (images,) = views.on_device(batch)  # [1, B, S, S, 3]
        features = tf.cast(backbone(images[0]), tf.float32)  # [B, F]
        # Outside the tape: the backbone gets no gradient.
        of_batch = tf.gather(targets, batch["index"])
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                of_batch, layer(features)
            )
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, layer.trainable_variables)
        optimizer.apply(gradients, layer.trainable_variables)

    return step
