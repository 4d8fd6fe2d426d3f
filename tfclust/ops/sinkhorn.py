"""Balanced codes by Sinkhorn-Knopp (Cuturi 2013; SwAV, arXiv:2006.09882).

Follows the order of facebookresearch/swav `distributed_sinkhorn` at 06b1b7c:
prototypes are scaled first, samples last. Differs in form, not in result: the
matrix exp(scores / epsilon) is computed once and does not change; an iteration
is two matrix-vector products for the factors u of samples and v of prototypes.
"""

import tensorflow as tf

# exp(1 / epsilon) and its inverse stay well inside float32 down to here.
_SMALLEST_SCALING_EPSILON = 0.02
# Below 1.2e-38 an entry of the matrix underflows, and so does its product with
# one factor or with both. With sum(u), sum(v) and their product under this
# bound, no sum of 20,000 terms is wrong by more than
# 1.2e-38 * 20,000 * 1e25 = 2.4e-9 of itself.
_LARGEST_FACTORS = 1e25


def balanced_codes(scores, *, epsilon, num_iters):
    """Soft assignments whose columns carry equal mass (Sinkhorn-Knopp).

    Finds Q maximising <Q, scores> + epsilon * entropy(Q) with rows summing to 1
    and columns to B / K, by `num_iters` passes over columns, then rows. Finite
    in float32 for scores / epsilon up to 1e4: if factors would leave the range
    of float32, the passes run in the log domain instead.

    Args:
      scores: `[B, K]` float, cosine of projections and prototypes, in [-1, 1];
        others work too, more slowly. A column of -inf leaves out a cluster.
      epsilon: positive float, in the units of `scores`. 0.05 in SwAV. A scalar
        tensor that changes from step to step also works; all passes then run in
        the log domain.
      num_iters: int >= 1, passes of column-then-row scaling. 3 in SwAV.

    Returns:
      `[B, K]` float32, a constant for gradients. Rows sum to 1 (float32
      rounding); columns approach B / K.

    Raises:
      ValueError: if `scores` is not rank 2, or `epsilon` or `num_iters` is not
        positive.

    Source:
      Caron et al. 2020, arXiv:2006.09882, eq. 3-5. Differs: scaling form, no
      division by the total.
    """
    scores = tf.convert_to_tensor(scores)
    _check(scores, epsilon, num_iters)
    scores = tf.stop_gradient(tf.cast(scores, tf.float32))
    if tf.is_tensor(epsilon):
        return _fitted_codes(scores, epsilon, int(num_iters))
    return _codes(scores, float(epsilon), int(num_iters))


def hard_codes(scores, *, epsilon, num_iters):
    """Balanced codes rounded to the largest entry of each row.

    Args:
      scores: `[B, K]` float, as for `balanced_codes`.
      epsilon: as for `balanced_codes`.
      num_iters: int >= 1, as for `balanced_codes`.

    Returns:
      `[B, K]` float32, one 1 per row; the first of equal codes.

    Raises:
      ValueError: as `balanced_codes`.

    Source:
      Caron et al. 2020, arXiv:2006.09882, sec. 3 ("discrete codes").
    """
    codes = balanced_codes(scores, epsilon=epsilon, num_iters=num_iters)
    return tf.one_hot(tf.argmax(codes, axis=1), tf.shape(codes)[1])


def _check(scores, epsilon, num_iters):
    if scores.shape.rank != 2:
        raise ValueError(
            "scores must be [B, K], one row per sample. Received: shape "
            f"{scores.shape}. Reshape views into rows, or call once per view."
        )
    if not tf.is_tensor(epsilon) and not epsilon > 0:
        raise ValueError(
            "epsilon must be a positive float. Received: "
            f"epsilon={epsilon}. SwAV uses 0.05."
        )
    if num_iters < 1:
        raise ValueError(
            "num_iters must be an int of at least 1. Received: "
            f"num_iters={num_iters}. SwAV uses 3."
        )


@tf.function(jit_compile=True, autograph=False)
def _codes(scores, epsilon, num_iters):
    if epsilon < _SMALLEST_SCALING_EPSILON:
        return _log_codes(scores, epsilon, num_iters)
    kernel = tf.exp(scores / epsilon)  # [B, K]
    u, v, in_range = _factors(kernel, num_iters)
    # Outside the branch: inside, XLA on CPU takes seven times as long.
    codes = u[:, None] * kernel * v
    return tf.cond(
        in_range,
        lambda: codes,
        lambda: _log_codes(scores, epsilon, num_iters),
    )


@tf.function(jit_compile=True, autograph=False)
def _fitted_codes(scores, epsilon, num_iters):
    return _log_codes(scores, tf.stop_gradient(epsilon), num_iters)


def _factors(kernel, num_iters):
    """u `[B]` and v `[K]`, and whether they are within `_LARGEST_FACTORS`."""
    share = _rows_a_cluster(kernel)

    def scale(i, u, v, in_range):
        v = share / tf.linalg.matvec(kernel, u, transpose_a=True)
        u = 1.0 / tf.linalg.matvec(kernel, v)
        sum_u, sum_v = tf.reduce_sum(u), tf.reduce_sum(v)
        # Also False for NaN, which a maximum may drop under XLA.
        for size in (sum_u, sum_v, sum_u * sum_v):
            in_range &= size < _LARGEST_FACTORS
        return i + 1, u, v, in_range

    start = (0, tf.ones_like(kernel[:, 0]), tf.ones_like(kernel[0]), True)
    return tf.while_loop(lambda i, *_: i < num_iters, scale, start)[1:]


def _log_codes(scores, epsilon, num_iters):
    """The same passes on logarithms of the factors; any range of scores."""
    # Scores relative to the best of their row, then of their column: the values
    # that matter are near 0, where float32 is finest. The column's part cancels
    # in the first pass; the row's part is the start of its factor.
    best = tf.reduce_max(scores, axis=1, keepdims=True)  # [B, 1]
    relative = scores - best
    nearest = tf.reduce_max(relative, axis=0)  # [K]
    left_out = tf.math.is_inf(nearest)
    nearest = tf.where(left_out, tf.zeros_like(nearest), nearest)
    logits = (relative - nearest) / epsilon  # [B, K]
    log_u = (best - tf.reduce_max(best)) / epsilon  # [B, 1]
    log_share = tf.math.log(_rows_a_cluster(scores))

    def scale(i, log_u, log_v):
        log_v = log_share - tf.reduce_logsumexp(logits + log_u, axis=0)
        log_v = tf.where(left_out, tf.zeros_like(log_v), log_v)  # [K]
        log_u = -tf.reduce_logsumexp(logits + log_v, axis=1, keepdims=True)
        return i + 1, log_u, log_v

    start = (0, log_u, tf.zeros_like(nearest))
    log_v = tf.while_loop(lambda i, *_: i < num_iters, scale, start)[2]
    return tf.nn.softmax(logits + log_v, axis=1)


def _rows_a_cluster(scores):
    # B / K cancels in the codes; without it the factors would drift apart by B
    # / K per pass and leave float32 after some dozen passes.
    shape = tf.cast(tf.shape(scores), tf.float32)
    return shape[0] / shape[1]
