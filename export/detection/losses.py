"""RetinaNet's loss (Lin et al. 2017, eq. 5 and 4.1).

Focal loss over all anchors but those that overlap a box by 0.4 to 0.5, and a
smooth L1 distance over those that overlap one by 0.5 or more. Both sums are
divided by the running mean of the number of such anchors in a batch, as
Detectron2 does. KerasHub 0.32 divides by the batch's own number, and so takes
loss 0 for a batch that has none: its background would teach nothing.
"""

from typing import NamedTuple

import tensorflow as tf

_ALPHA, _GAMMA = 0.25, 2.0  # of the focal loss
_BETA = 0.1  # where smooth L1 turns linear; Detectron2's
_MOMENTUM = 0.9  # of the mean of positive anchors
_IGNORED = -2.0


class Losses(NamedTuple):
    """Scalars of one batch."""

    classes: tf.Tensor
    boxes: tf.Tensor
    positives: tf.Tensor  # anchors that have a box


class Loss(tf.Module):
    """The loss with its running mean, which belongs to a run's state."""

    def __init__(self, encoder, num_classes):
        super().__init__()
        self._encoder, self._num_classes = encoder, num_classes
        # 0 before the first batch that has any.
        self.mean_positives = tf.Variable(0.0, trainable=False)

    def __call__(self, images, boxes, labels, predicted):
        """`Losses` of a batch; moves the mean.

        Args:
          images: `[B, S, S, 3]`, for their shape.
          boxes: float32 `[B, M, 4]`. labels: float32 `[B, M]`, -1 for no box.
          predicted: dict with `bbox_regression` `[B, A, 4]` and `cls_logits`
            `[B, A, K]`.
        """
        wanted, classes = self._encoder(images, boxes, labels)  # [B, A, ·]
        is_positive = tf.cast(classes >= 0, tf.float32)
        positives = tf.reduce_sum(is_positive)
        count = self._moved_mean(positives)
        logits = tf.cast(predicted["cls_logits"], tf.float32)
        targets = tf.one_hot(tf.cast(classes, tf.int32), self._num_classes)
        counted = tf.cast(classes != _IGNORED, tf.float32)
        focal = tf.reduce_sum(focal_loss(targets, logits), axis=-1) * counted
        found = tf.cast(predicted["bbox_regression"], tf.float32)
        # What no box belongs to may be infinite.
        away = tf.where(is_positive[..., None] > 0, wanted - found, 0.0)
        return Losses(
            tf.reduce_sum(focal) / count,
            tf.reduce_sum(smooth_l1(away)) / count,
            positives,
        )

    def _moved_mean(self, positives):
        """What sums are divided by: the mean over batches, at least 1."""
        before = self.mean_positives.read_value()
        mean = _MOMENTUM * before + (1 - _MOMENTUM) * positives
        mean = tf.where(before > 0, mean, positives)
        self.mean_positives.assign(mean)
        return tf.maximum(mean, 1.0)


def focal_loss(targets, logits):
    """`[...]`: -alpha_t (1 - p_t)^gamma log p_t of each sigmoid."""
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
    p = tf.sigmoid(logits)
    p_t = targets * p + (1 - targets) * (1 - p)
    alpha_t = targets * _ALPHA + (1 - targets) * (1 - _ALPHA)
    return alpha_t * (1 - p_t) ** _GAMMA * entropy


def smooth_l1(away):
    """`[...]`: quadratic up to beta, linear beyond."""
    size = tf.abs(away)
    return tf.where(size < _BETA, 0.5 * size**2 / _BETA, size - 0.5 * _BETA)
