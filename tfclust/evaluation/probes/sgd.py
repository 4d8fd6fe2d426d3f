"""Linear probes by SGD on a frozen network: of one layer, or of several.

With the default knobs it is SwAV's and DeepCluster-v2's, facebookresearch/swav
`eval_linear.py` at 06b1b7c. All layers are probed in one pass over the images:
their probes share batches and nothing else. Differs from the sources: the last
epoch counts, and the best by test accuracy is given beside it under its own
name; an epoch leaves out the images that do not fill a batch; kernels start
from N(0, 0.01) as SwAV's do, which a convex problem soon forgets.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfclust import data
from tfclust.evaluation.probes.recipe import optimizer_of, rate_at
from tfclust.evaluation.probes.testing import ImageTest
from tfclust.evaluation.scores import check_finite, top5_share


class SGDResult(NamedTuple):
    """What one probe finds; shares of test images classified right.

    top1, top5: after the last epoch; top5 is None for five classes or fewer.
    best_epoch_top1, best_epoch: chosen by the test set, as the sources do;
    from 1; None if the epochs were not tested. predictions: int `[Q]`, after
    the last epoch. weights: of the head, as `keras.Model.get_weights` has them.
    """

    top1: float
    top5: float | None
    best_epoch_top1: float | None
    best_epoch: int | None
    predictions: np.ndarray
    weights: list


@data.telling_lost_images()
def sgd_probe(layers, train, test, config, *, image_size, seed=0, sizes=None):
    """Trains a linear layer on each of a frozen network's layers.

    Args:
      layers: callable, float32 images `[B, S, S, 3]` in [0, 1] to a dict of
        tensors `[B, F]` or `[B, n, n, C]`; in inference mode.
      train: `data.Source` with labels of at least two classes.
      test: `testing.FeatureTest` or `testing.ImageTest`.
      config: `recipe.ProbeConfig`.
      image_size: int S, side of the crops.
      seed: int, of the crops and the kernels.
      sizes: dict of further sizes for `data.FixedCrops`, or None.

    Returns:
      `{layer: SGDResult}`.

    Raises:
      ValueError: if there is only one class, or a score is not finite.
      OSError: if images are gone, and their replacements too.
    """
    classes, targets = np.unique(train.labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            "the training labels must hold at least two classes for a linear "
            f"probe. Received: {len(classes)} classes."
        )
    crops = _crops(train, config, image_size, seed, sizes or {})
    shapes = _shapes(layers, image_size)
    heads = {
        name: _head(shape, len(classes), config.linear_batch_norm, seed)
        for name, shape in shapes.items()
    }
    optimizer = optimizer_of(config)
    variables = [v for h in heads.values() for v in h.trainable_variables]
    optimizer.build(variables)
    step = _train_step(layers, crops, targets, heads, optimizer, variables)
    shares, count = [], 0
    last: dict = {}
    for epoch in range(config.linear_epochs):
        for batch in crops.batches(epoch):
            optimizer.learning_rate = rate_at(config, epoch, count)
            step(batch)
            count += 1
        if config.linear_best_epoch or epoch == config.linear_epochs - 1:
            # Of ImageNet's images they take 0.2 GB a layer: the epoch before's
            # go first, and only their shares stay.
            last = {}
            last = test.scores(heads)
            shares.append(_shares(last, classes, test.labels))
    return {
        name: _result(
            [of[name] for of in shares],
            last[name],
            classes,
            test.labels,
            heads[name],
            config.linear_best_epoch,
        )
        for name in heads
    }


def probe_subject(subject, layers, config, test=None):
    """`sgd_probe` of a `Subject`'s images, tested on crops of its test images.

    Args:
      subject: `Subject`. layers: as `sgd_probe` takes them.
      config: `EvaluationConfig` with the knobs of a `recipe.ProbeConfig`.
      test: what tests the layers instead; None for `testing.ImageTest`.
    """
    if test is None:
        test = ImageTest(
            layers,
            subject.test,
            crops=config.linear_test_crops,
            mean=config.linear_crop_mean,
            **subject.cut,
        )
    return sgd_probe(
        layers,
        subject.train,
        test,
        config,
        image_size=subject.image_size,
        seed=config.evaluation_seed,
        sizes={"resize_size": subject.resize_size},
    )


def _crops(train, config, image_size, seed, sizes):
    batch_size = min(config.linear_batch_size, train.num_images)
    if config.linear_crops == "random":
        return _RandomCrops(train, config, image_size, batch_size, seed)
    return data.FixedCrops(
        train,
        image_size=image_size,
        batch_size=batch_size,
        seed=seed,
        moving=config.linear_crops == "fixed",
        **sizes,
    )


class _RandomCrops:
    """Batches as `data.FixedCrops` has them, of crops of any scale."""

    def __init__(self, train, config, image_size, batch_size, seed):
        jitter = config.linear_jitter
        self._views = data.Views(
            train,
            view_sizes=(image_size,),
            num_views=(1,),
            view_scales=((0.08, 1.0),),
            antialias_from=1.0,  # as the images that test the layer
            augmentation="none",
            flip_probability=0.5,
            color_jitter=(jitter, jitter, jitter, 0.0) if jitter else (),
            jitter_probability=1.0 if jitter else None,
            photometric="sequential" if jitter else "fused",
            batch_size=batch_size,
            seed=seed,
        )

    def batches(self, epoch):
        return self._views.batches(epoch)

    def on_device(self, batch):
        (images,) = self._views.on_device(batch)  # [1, B, S, S, 3]
        return images[0]


def _shapes(layers, image_size):
    """`{layer: shape of a row}`, without a pass over images."""
    spec = tf.TensorSpec([2, image_size, image_size, 3], tf.float32)
    traced = tf.function(layers, autograph=False).get_concrete_function(spec)
    return {
        name: tuple(output.shape[1:])
        for name, output in traced.structured_outputs.items()
    }


def _head(shape, num_classes, batch_norm, seed):
    """`shape` to logits: batch norm over channels if asked, then linear."""
    stack = [keras.Input(shape)]
    if batch_norm != "none":
        affine = batch_norm == "affine"
        stack.append(
            keras.layers.BatchNormalization(
                momentum=0.9,  # PyTorch's 0.1
                epsilon=1e-5,
                scale=affine,
                center=affine,
                dtype="float32",
            )
        )
    linear = keras.layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.RandomNormal(
            stddev=0.01, seed=seed
        ),
        dtype="float32",
        name="probe",
    )
    return keras.Sequential([*stack, keras.layers.Flatten(), linear])


def _train_step(layers, crops, targets, heads, optimizer, variables):
    """A compiled step of all probes on a batch."""
    targets = tf.constant(targets)

    @tf.function(autograph=False)
    def step(batch):
        found = layers(crops.on_device(batch))
        # Outside the tape: the network gets no gradient.
        of_batch = tf.gather(targets, batch["index"])
        with tf.GradientTape() as tape:
            losses = [
                tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(
                        of_batch,
                        head(tf.cast(found[name], tf.float32), training=True),
                    )
                )
                for name, head in heads.items()
            ]
            # A probe's variables are in one loss alone.
            loss = tf.add_n(losses)
        optimizer.apply(tape.gradient(loss, variables), variables)

    return step


def _shares(scores, classes, labels):
    """`{layer: share of the test images classified right}`."""
    for of in scores.values():
        check_finite(of)
    return {
        name: float(np.mean(classes[of.argmax(axis=1)] == labels))
        for name, of in scores.items()
    }


def _result(history, last, classes, labels, head, best):
    """`SGDResult` of an epoch's shares each, and the last's scores `[Q, C]`."""
    first_best = int(np.argmax(history))
    return SGDResult(
        top1=history[-1],
        top5=top5_share(last, classes, labels),
        best_epoch_top1=history[first_best] if best else None,
        best_epoch=first_best + 1 if best else None,
        predictions=classes[last.argmax(axis=1)],
        weights=head.get_weights(),
    )
