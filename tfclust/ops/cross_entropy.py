"""Cross-entropy of every view and head with the image's hard label."""

import tensorflow as tf


def hard_label_losses(scores, labels, *, temperature=1.0):
    """Mean over views of -log p(label), by head and image.

    Args:
      scores: a tuple over heads of `[V, B, K]` float.
      labels: `[B, H]` int; -1 if an image has no label.
      temperature: float > 0; scores are divided by it.

    Returns:
      Losses and weights, `[H, B]` float32; weight 0 without a label.
    """
    losses, weights = [], []
    for of_head, label in zip(scores, tf.unstack(labels, axis=1), strict=True):
        weights.append(tf.cast(label >= 0, tf.float32))  # [B]
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.broadcast_to(tf.maximum(label, 0), of_head.shape[:2]),
            of_head / temperature,
        )  # [V, B]
        losses.append(tf.reduce_mean(entropy, axis=0))
    return tf.stack(losses), tf.stack(weights)
