"""Rows of the global batch, whatever the number of replicas.

Inside `strategy.run` a replica holds B / R rows. These functions join the rows
in replica order, sum values, and return a replica's own rows; with one replica,
or without a strategy, they do nothing, so methods are written only once. Under
a strategy they cannot be compiled by XLA: compile what comes after.
"""

import tensorflow as tf

# Types that every collective kernel takes; others are sent as one of these.
_CARRIERS = {
    tf.bool: tf.int32,
    tf.int8: tf.int32,
    tf.uint8: tf.int32,
    tf.int16: tf.int32,
    tf.uint16: tf.int32,
    tf.bfloat16: tf.float32,
}


def num_replicas():
    """Replicas that share the global batch; 1 without a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def on_devices(strategy, of_replica):
    """The result of `of_replica` for each replica of this host, on its device.

    Args:
      strategy: `tf.distribute.Strategy`, called from outside its replicas.
      of_replica: function of a replica's number among all hosts' -> tensors,
        possibly in dicts and tuples.

    Returns:
      Values per replica for `strategy.run`, or tensors if there is only one.
    """

    def copy(replica, device):
        values = of_replica(replica)
        with tf.device(device):
            return tf.nest.map_structure(tf.identity, values)

    if strategy.num_replicas_in_sync == 1:
        gpus = tf.config.list_logical_devices("GPU")
        return copy(0, gpus[0].name if gpus else "/device:CPU:0")
    devices = strategy.extended.worker_devices  # of this host

    def of_context(context):
        replica = context.replica_id_in_sync_group
        return copy(replica, devices[replica % len(devices)])

    return strategy.experimental_distribute_values_from_function(of_context)


def all_gather(x):
    """The rows of all replicas, in replica order.

    Args:
      x: `[B / R, ...]` of any numeric type or bool; the same shape on every
        replica.

    Returns:
      `[B, ...]`, the same on every replica. Gradients go back to their rows.

    Raises:
      RuntimeError: if several replicas exist but none is running.
    """
    x = tf.convert_to_tensor(x)
    replicas = num_replicas()
    if replicas == 1:
        return x
    context = _context("all_gather")
    gathered = context.all_gather(_carried(x), axis=0)
    gathered = tf.cast(gathered, x.dtype)
    rows = x.shape[0]  # the op forgets it
    known = None if rows is None else rows * replicas
    return tf.ensure_shape(gathered, [known, *x.shape[1:]])  # [B, ...]


def own_rows(gathered, num_rows):
    """This replica's part of what `all_gather` joined.

    Args:
      gathered: `[B, ...]`, or anything computed by row from it.
      num_rows: int or scalar, B / R.

    Returns:
      `[B / R, ...]`.

    Raises:
      ValueError: if `num_rows` is not B / R, where both are known.
      RuntimeError: if several replicas exist but none is running.
    """
    gathered = tf.convert_to_tensor(gathered)
    replicas = num_replicas()
    total = gathered.shape[0]
    known = isinstance(num_rows, int) and total is not None
    if known and total != num_rows * replicas:
        raise ValueError(
            "own_rows needs the number of rows of each replica. Received: "
            f"num_rows={num_rows}, gathered rows={total}, "
            f"replicas={replicas}. Pass num_rows={total // replicas}."
        )
    if replicas == 1:
        return gathered
    replica = _context("own_rows").replica_id_in_sync_group
    begin = tf.cast(replica, tf.int32) * tf.cast(num_rows, tf.int32)
    begin = tf.pad(begin[None], [[0, gathered.shape.rank - 1]])
    size = [num_rows, *[-1] * (gathered.shape.rank - 1)]
    rows = tf.slice(gathered, begin, size)  # [B / R, ...]
    static = num_rows if isinstance(num_rows, int) else None
    return tf.ensure_shape(rows, [static, *gathered.shape[1:]])


def own_rows_of_views(whole, num_rows):
    """This replica's rows of all views, as a pass has them: view by view.

    Args:
      whole: `[B, V, C]`, of the global batch; V and C are known.
      num_rows: int or scalar, B / R.

    Returns:
      `[V * B / R, C]`.
    """
    own = own_rows(whole, num_rows)  # [b, V, C]
    # Without AVX-512, oneDNN complains about a transpose of int32.
    views = tf.stack(tf.unstack(own, axis=1))  # [V, b, C]
    return tf.reshape(views, [-1, whole.shape[-1]])


def all_sum(x):
    """Sum over replicas, the same on every replica.

    Args:
      x: any shape, numeric or bool (counted, as int32).

    Returns:
      A tensor of x's shape and type; int32 for bool.

    Raises:
      RuntimeError: if several replicas exist but none is running.
    """
    x = tf.convert_to_tensor(x)
    if x.dtype == tf.bool:
        x = tf.cast(x, tf.int32)
    if num_replicas() == 1:
        return x
    context = _context("all_sum")
    total = context.all_reduce(tf.distribute.ReduceOp.SUM, _carried(x))
    return tf.cast(total, x.dtype)


def first_replica(strategy, results):
    """The first local replica's part of what `strategy.run` returned."""
    return tf.nest.map_structure(
        lambda x: strategy.experimental_local_results(x)[0], results
    )


def _carried(x):
    # identity: an input of the function is on no device yet, and between
    # processes that fails with "destinations can not be empty".
    return tf.identity(tf.cast(x, _CARRIERS.get(x.dtype, x.dtype)))


def _context(name):
    context = tf.distribute.get_replica_context()
    if context is None:
        raise RuntimeError(
            f"{name} joins values of running replicas: expected a call inside "
            f"strategy.run. Received: a call in the scope of "
            f"{num_replicas()} replicas, none of them running. Move it into "
            "the function that strategy.run is given."
        )
    return context


def check_compiled(jit_compile, count):
    """Refuses to compile a whole step that `count` replicas would share.

    Raises:
      ValueError: with several replicas, because one traced step would be shared
        by all of them (keras#19005).
    """
    if jit_compile and count > 1:
        raise ValueError(
            "jit_compile compiles the whole step on one replica. Received: "
            f"jit_compile=True with {count} replicas. Leave it out; the pure "
            "parts (codes, k-means, colour) are compiled anyway."
        )
