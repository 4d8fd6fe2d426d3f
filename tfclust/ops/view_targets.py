"""What the views of an image learn from: a label, and one another.

CoKe (Qian et al. 2022, arXiv:2105.11527) has a loss for one view, one for two,
and one for additional small crops; all three are cases of these functions.
"""

import tensorflow as tf


def mixed_targets(label, log_probs, *, num_large, label_weight):
    """A target per view: a share of the label, the rest from other views.

        t_v = a y + (1 - a) mean over large views u != v of p_u

    A single large view has no other and uses the label alone.

    Args:
      label: `[B, K]` float32, one-hot or soft.
      log_probs: `[V, B, K]` log-softmax, large views first.
      num_large: int, large views.
      label_weight: float a in [0, 1].

    Returns:
      `[V, B, K]` float32, a constant for gradients.

    Source:
      CoKe, eq. 13, and `main_multi_view` for small crops; a = 0.2.
    """
    large = tf.unstack(tf.exp(log_probs[:num_large]))
    targets = []
    for view in range(log_probs.shape[0]):
        others = [prob for u, prob in enumerate(large) if u != view]
        if others:
            mean = tf.add_n(others) / len(others)
            targets.append(label_weight * label + (1.0 - label_weight) * mean)
        else:
            targets.append(label)
    return tf.stop_gradient(tf.stack(targets))


def mean_over_views(losses, *, num_large, small_weight):
    """The weighted sum of the mean losses of large and of small views.

    Args:
      losses: `[V, B]`, large views first.
      num_large: int, large views.
      small_weight: float in [0, 1], of the small views, if there are any.

    Returns:
      `[B]`.
    """
    large = tf.reduce_mean(losses[:num_large], axis=0)
    if losses.shape[0] == num_large:
        return large
    small = tf.reduce_mean(losses[num_large:], axis=0)
    return (1.0 - small_weight) * large + small_weight * small
