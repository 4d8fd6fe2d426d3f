"""A network and a linear classifier on labelled images, by `tuning`."""

import hashlib
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfclust import data
from tfclust.engine.losses import ExampleLosses
from tfclust.evaluation.probes import tuning
from tfclust.evaluation.probes.trainable import trainable_copy
from tfclust.evaluation.targets import UNKNOWN
from tfclust.layers import dense
from tfclust.runtime import devices

# An epoch makes a new pipeline, which costs as much as some steps.
_STEPS_AN_EPOCH = 64


class Outputs(NamedTuple):
    """Logits of the test images, and the last step's loss in training."""

    logits: np.ndarray  # float32 [Q, C]
    train_loss: float


def settings(config):
    """`tuning.Settings` of the knobs of the protocol `finetune`."""
    return tuning.Settings(
        steps=config.finetune_steps,
        rate=config.finetune_rate,
        head_rate=config.finetune_head_rate,
        drops=config.finetune_drops or None,
        weight_decay=config.finetune_weight_decay,
        clip_norm=config.finetune_clip_norm,
        train_statistics=config.finetune_statistics,
        seed=config.evaluation_seed,
        precision=config.finetune_mixed_precision,
        save_steps=config.finetune_save_steps,
    )


def outputs(
    network,
    train,
    test,
    targets,
    settings,
    *,
    image_size,
    resize_size=None,
    batch_size=256,
    crop_scale=(0.08, 1.0),
    head_start="uniform",
    test_batch_size=256,
    strategy=None,
    keeper_of=None,
):
    """Logits of the test images, after the last step of training.

    Args:
      network: `Network` with a Keras model; it stays as it is.
      train: `data.Source`. test: `data.Source`; its labels are not read.
      targets: `Targets` of these.
      settings: `tuning.Settings`.
      image_size: int S, side of the crops.
      resize_size: int, short side before the test images' centre crop; None
        for `data.default_resize(image_size)`.
      batch_size: int, at most; all labelled images if there are fewer.
      crop_scale: smallest and largest share of the area in a training crop.
      head_start: "uniform" or "normal", the classifier's first weights.
      test_batch_size: int, images in a forward pass.
      strategy: `tf.distribute.Strategy`; None for all GPUs there are.
      keeper_of: function of the images and of all else that decides the
        training to its `resuming.Keeper`, such as `Subject.keeper`; or None.

    Returns:
      `Outputs`.

    Raises:
      ValueError: if replicas cannot share a batch.
      RuntimeError: if the loss is no longer a number.
    """
    strategy = strategy or devices.over_gpus()
    train, wanted = _labelled(train, targets)
    count = strategy.num_replicas_in_sync
    batch = min(batch_size, train.num_images) // count * count
    if not batch:
        raise ValueError(
            f"{train.num_images} labelled images cannot be shared by {count} "
            f"replicas in batches of {batch_size}. Give more images, or a "
            "larger batch."
        )
    views = data.Views(
        train,
        batch_size=batch,
        seed=settings.seed,
        passes=_passes(train.num_images, batch),
        view_sizes=(image_size,),
        num_views=(1,),
        view_scales=(tuple(crop_scale),),
        augmentation="none",
        flip_probability=0.5,
    )
    num_classes = len(targets.classes)

    def make_head(trunk):
        width = trunk.output_shape[-1]
        normal = head_start == "normal"
        make = dense.normal_linear if normal else dense.linear
        layer = make(num_classes, width, name="new_classifier")
        return keras.Sequential([keras.Input([width]), layer], name="new_head")

    images = tuning.Batches(views, tf.constant(wanted))
    losses = set_losses if targets.are_sets else class_losses
    keeper = keeper_of and keeper_of(
        train,
        "fine-tuning",
        settings=settings._replace(save_steps=0),
        targets=hashlib.sha256(wanted.tobytes()).hexdigest(),
        image_size=image_size,
        batch_size=batch,
        crop_scale=crop_scale,
        head_start=head_start,
    )
    tuned = tuning.tune(
        lambda: trainable_copy(network, settings.precision),
        make_head,
        images,
        losses,
        settings,
        strategy,
        keeper,
    )
    logits = data.ImagePass(
        tuned,
        test,
        image_size=image_size,
        resize_size=resize_size,
        batch_size=test_batch_size,
    ).run()
    return Outputs(logits, tuned.loss)


def class_losses(logits, classes):
    """Cross-entropy of `[b, C]` logits with classes int64 `[b]`."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
    return ExampleLosses(losses, tf.ones_like(losses))


def set_losses(logits, sets):
    """Binary cross-entropies of `[b, C]` logits, summed over known labels.

    What is not known, VOC's difficult, has no part in the sum.
    """
    known = tf.cast(sets != UNKNOWN, tf.float32)
    present = tf.cast(sets == 1, tf.float32)
    each = tf.nn.sigmoid_cross_entropy_with_logits(present, logits)
    losses = tf.reduce_sum(each * known, axis=1)  # [b]
    return ExampleLosses(losses, tf.ones_like(losses))


def _labelled(train, targets):
    """The images that have a label, and the targets of these."""
    if targets.are_sets:
        return train, targets.train
    rows = np.flatnonzero(targets.train >= 0)
    if len(rows) < train.num_images:
        train = data.Sample(train, rows)
    return train, targets.train[rows]


def _passes(num_images, batch_size):
    return max(1, _STEPS_AN_EPOCH * batch_size // num_images)
