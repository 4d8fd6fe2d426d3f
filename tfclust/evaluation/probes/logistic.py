"""Logistic regression on frozen features, for sets that fit in memory.

As Kornblith et al. 2019 (arXiv:1805.08974) and CLIP (arXiv:2103.00020) probe:
L-BFGS, the L2 penalty chosen on held-out TRAINING images, then a fit on all of
them. No test label takes part in any choice.

Features are standardised with the training set's mean and standard deviation:
the scales of backbones differ by orders of magnitude, and one grid of penalties
and a few iterations suit them all only if the columns are alike.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.special
import tensorflow as tf

from tfclust.evaluation.rows import checked_rows
from tfclust.evaluation.scores import top5_share

# Strong to weak, each fit starting from the one before; the next is tried as
# long as the held-out loss falls.
PENALTIES = (10.0, 1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)
_HELD_OUT = 5  # one image in this many is held out, of each class
# An eigenvalue problem of 4,096 columns takes half a minute; wider features
# take more iterations instead.
_WIDEST_ROTATION = 4096


class LogisticResult(NamedTuple):
    """Shares classified right, the penalty chosen, the class of each `[Q]`.

    top5 is None for five classes or fewer.
    """

    top1: float
    top5: float | None
    penalty: float
    predictions: np.ndarray


class Weights(NamedTuple):
    """`features @ kernel + bias` are logits: `[F, C]` and `[C]`."""

    kernel: np.ndarray
    bias: np.ndarray


def logistic_regression(
    train_features,
    train_labels,
    test_features,
    test_labels,
    *,
    penalties=PENALTIES,
    max_iters=1000,
    seed=0,
):
    """Multinomial logistic regression by L-BFGS on standardised features.

    Minimises mean cross-entropy + penalty / 2 * |kernel|^2. `penalties` are
    tried in turn; the one after which the cross-entropy of a held-out fifth of
    the training images rises is used.

    Args:
      train_features: `[N, F]` float.
      train_labels: `[N]` int, of at least two classes.
      test_features: `[Q, F]` float.
      test_labels: `[Q]` int.
      penalties: positive floats, strong to weak; a single one is used as it is.
      max_iters: int, L-BFGS iterations of a fit.
      seed: int, decides which images are held out.

    Returns:
      `LogisticResult`.

    Raises:
      ValueError: if shapes do not fit, features are not finite, or there is
        only one class.
    """
    rows, labels = checked_rows(train_features, train_labels, "train")
    test_rows, test_labels = checked_rows(test_features, test_labels, "test")
    classes, targets = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            "train_labels must hold at least two classes for a linear probe. "
            f"Received: only label {classes[0]}."
        )
    rows, test_rows = _standardised(rows, test_rows)
    if rows.shape[1] <= _WIDEST_ROTATION:
        rows, test_rows = _on_principal_axes(rows, test_rows)
    penalty, start = _chosen(
        rows, targets, len(classes), penalties, max_iters, seed
    )
    weights = fit(
        rows,
        targets,
        len(classes),
        penalty=penalty,
        max_iters=max_iters,
        start=start,
    )
    scores = logits(weights, test_rows)  # [Q, C]
    predictions = classes[scores.argmax(axis=1)]
    top1 = float(np.mean(predictions == test_labels))
    top5 = top5_share(scores, classes, test_labels)
    return LogisticResult(top1, top5, penalty, predictions)


def fit(
    rows,
    targets,
    num_classes,
    *,
    penalty,
    max_iters=1000,
    tolerance=1e-4,
    start=None,
):
    """`Weights` that minimise cross-entropy and an L2 penalty on the kernel.

    L-BFGS sees the weights of each column scaled by the root of the curvature
    at zero, E[x^2] / C + penalty. On uncorrelated columns this is nearly all
    that makes such a problem slow.

    Args:
      rows: float32 `[N, F]`.
      targets: `[N]` int in [0, C).
      num_classes: int C.
      penalty: positive float.
      max_iters: int.
      tolerance: float, stop when no entry of the gradient by scaled weights is
        larger.
      start: `Weights` to start from; None for zeros.

    Returns:
      `Weights`, float32.
    """
    width = rows.shape[1]
    if start is None:
        zeros = np.zeros([width + 1, num_classes])
        start = Weights(zeros[:-1], zeros[-1])
    squares = np.einsum("nf,nf->f", rows, rows) / len(rows)  # [F]
    curvature = np.append(squares / num_classes + penalty, 1 / num_classes)
    scale = 1 / np.sqrt(curvature)[:, None]  # [F + 1, 1], the bias last
    start = np.vstack([start.kernel, start.bias]) / scale
    result = scipy.optimize.minimize(
        _objective(rows, targets, num_classes, penalty, scale),
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        # The value is float32: steps smaller than its rounding do not help.
        options={"maxiter": max_iters, "gtol": tolerance, "ftol": 1e-9},
    )
    weights = result.x.reshape(width + 1, num_classes) * scale
    weights = weights.astype(np.float32)
    return Weights(weights[:-1], weights[-1])


def logits(weights, rows):
    """float32 `[N, C]`."""
    return rows @ weights.kernel + weights.bias


def _standardised(rows, test_rows):
    """Both scaled so that the training columns have mean 0 and deviation 1."""
    mean = rows.mean(axis=0, dtype=np.float64)
    deviation = rows.std(axis=0, dtype=np.float64)
    # A constant column has no information; 0 leaves it out.
    varies = deviation > 1e-6 * np.abs(mean)
    scale = np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0)
    mean, scale = mean.astype(np.float32), scale.astype(np.float32)
    return (rows - mean) * scale, (test_rows - mean) * scale


def _on_principal_axes(rows, test_rows):
    """Both rotated so that the training rows' columns are uncorrelated.

    A rotation does not change the penalty, so the minimum is the same, but is
    found in tens of iterations: neighbouring pixels, for example, need
    hundreds.
    """
    products = tf.matmul(rows, rows, transpose_a=True).numpy() / len(rows)
    _, axes = scipy.linalg.eigh(products, driver="evd")  # [F, F]
    return rows @ axes, test_rows @ axes


def _objective(rows, targets, num_classes, penalty, scale):
    """A function from flat, scaled float64 weights to value and gradient."""
    rows = tf.constant(rows)
    one_hot = tf.one_hot(targets, num_classes)
    penalty = tf.constant(penalty, tf.float32)

    def flat(scaled):
        weights = scaled.reshape(len(scale), num_classes) * scale
        value, gradient = _value_and_gradient(
            tf.constant(weights, tf.float32), rows, one_hot, penalty
        )
        return float(value), (gradient.numpy() * scale).ravel()

    return flat


@tf.function(reduce_retracing=True, autograph=False)
def _value_and_gradient(weights, rows, one_hot, penalty):
    kernel, bias = weights[:-1], weights[-1]
    scores = tf.matmul(rows, kernel) + bias  # [N, C]
    losses = tf.nn.softmax_cross_entropy_with_logits(one_hot, scores)
    value = tf.reduce_mean(losses) + penalty * tf.nn.l2_loss(kernel)
    num_rows = tf.cast(tf.shape(rows)[0], tf.float32)
    residual = (tf.nn.softmax(scores) - one_hot) / num_rows
    by_kernel = tf.matmul(rows, residual, transpose_a=True) + penalty * kernel
    by_bias = tf.reduce_sum(residual, axis=0)
    return value, tf.concat([by_kernel, by_bias[None]], axis=0)  # [F + 1, C]


def _chosen(rows, targets, num_classes, penalties, max_iters, seed):
    """The penalty after which held-out cross-entropy rises, and its weights."""
    held = _held_out(targets, num_classes, seed)
    if len(penalties) == 1 or not held.any():
        return penalties[len(penalties) // 2], None
    best, lowest, weights = penalties[0], np.inf, None
    kept_rows, kept_targets = rows[~held], targets[~held]
    for penalty in penalties:
        candidate = fit(
            kept_rows,
            kept_targets,
            num_classes,
            penalty=penalty,
            max_iters=max_iters,
            start=weights,
        )
        loss = _cross_entropy(logits(candidate, rows[held]), targets[held])
        if not loss < lowest:
            break
        best, lowest, weights = penalty, loss, candidate
    return best, weights


def _held_out(targets, num_classes, seed):
    """bool `[N]`, a random fifth of each class; at least one image of two."""
    random = np.random.default_rng(seed)
    held = np.zeros(len(targets), bool)
    for target in range(num_classes):
        members = random.permutation(np.flatnonzero(targets == target))
        if len(members) > 1:
            held[members[: max(1, len(members) // _HELD_OUT)]] = True
    return held


def _cross_entropy(scores, targets):
    scores = scores.astype(np.float64)
    of_target = np.take_along_axis(scores, targets[:, None], axis=1)[:, 0]
    return np.mean(scipy.special.logsumexp(scores, axis=1) - of_target)
