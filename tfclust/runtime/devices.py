"""Where a run computes: strategy, threads, precision, determinism.

All of it must come before the first operation, which fixes the devices.
"""

import contextlib
import functools
import json
import os
import re

import keras
import tensorflow as tf

from tfclust.runtime import cores
from tfclust.runtime.machine import PRECISIONS

# In TF_CONFIG's cluster: the kinds of host that train, and "host:port".
_KINDS = ("chief", "worker")
_ADDRESS = re.compile(r"(grpc://)?(\[[^\]\s]+\]|[^:\s]+):[0-9]{1,5}")


def make_strategy(kind="auto", num_replicas=None):
    """The distribution strategy that `--strategy` and `--num_replicas` mean.

    Args:
      kind: "one" device; "mirrored" over this host's GPUs, or over logical
        devices into which the CPU is split; "multi_worker" over the hosts of
        TF_CONFIG; "auto" uses what is there.
      num_replicas: int; None for one per GPU.

    Returns:
      A `tf.distribute.Strategy`; for one device the default one.

    Raises:
      ValueError: if there are too few devices, or TF_CONFIG is used and names
        no hosts, or not this one.
    """
    num_gpus = len(tf.config.list_physical_devices("GPU"))
    if kind == "auto":
        kind = _automatic(num_gpus, num_replicas)
    if kind == "multi_worker":
        return _multi_worker(num_replicas)
    if kind == "one":
        if num_replicas not in (None, 1):
            raise ValueError(
                "strategy=one means one replica. Received: "
                f"num_replicas={num_replicas}. Write strategy=mirrored."
            )
        return tf.distribute.get_strategy()
    count = num_replicas or max(1, num_gpus)
    if num_gpus:
        if count > num_gpus:
            raise ValueError(
                f"num_replicas must be at most the number of GPUs, {num_gpus}. "
                f"Received: num_replicas={count}."
            )
        return tf.distribute.MirroredStrategy(
            [f"GPU:{i}" for i in range(count)]
        )
    _split_cpu(count)
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])


def joins_hosts(kind):
    """Whether `make_strategy` would join the hosts of TF_CONFIG."""
    return kind == "multi_worker" or (kind == "auto" and bool(_cluster()))


@functools.cache
def over_gpus():
    """Mirrored over this host's GPUs if there are several, for evaluation."""
    several = len(tf.config.list_physical_devices("GPU")) > 1
    return make_strategy("mirrored" if several else "one")


def seed_everything(seed, deterministic=None):
    """Seeds all generators, and makes operations repeatable.

    Args:
      seed: int.
      deterministic: whether an operation gives the same bits each time, at some
        cost on GPUs; None means: if there is no GPU.

    Returns:
      Whether it is deterministic.
    """
    keras.utils.set_random_seed(seed)
    if deterministic is None:
        deterministic = not tf.config.list_physical_devices("GPU")
    if deterministic:
        tf.config.experimental.enable_op_determinism()
        # It turns a + b + c into one AddN, which starts with the summand whose
        # memory is free at that moment: a busy machine would change the last
        # bit.
        tf.config.optimizer.set_experimental_options(
            {"arithmetic_optimization": False}
        )
    return deterministic


def set_threads(count=None):
    """Fixes the threads per operation, on which the order of sums may depend.

    Args:
      count: int; None for the processors that this process may use.

    Returns:
      The number in effect, which is another one if operations have run already.
    """
    count = count or cores.usable_cpus()
    # After the first operation TensorFlow keeps what it started with.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(count)
    return tf.config.threading.get_intra_op_parallelism_threads() or count


@contextlib.contextmanager
def precision(kind):
    """A context: layers built in it compute in `kind`, one of `PRECISIONS`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(PRECISIONS[kind])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def spans_hosts(strategy):
    """Whether several hosts train together."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def is_chief(strategy):
    """Whether this process writes the files, as the first host's does."""
    resolver = strategy.cluster_resolver
    if not spans_hosts(strategy):
        return True
    kinds = json.loads(os.environ["TF_CONFIG"])["cluster"]
    first = "chief" if "chief" in kinds else "worker"
    return (resolver.task_type, resolver.task_id) == (first, 0)


def any_host(strategy, value):
    """Whether `value` is true on any host; all hosts call it together."""
    if not spans_hosts(strategy):
        return value
    return float(_sum_over_replicas(strategy)(tf.constant(float(value)))) > 0


@contextlib.contextmanager
def telling_lost_hosts(strategy):
    """A context that turns TensorFlow's failure into "another host is gone".

    A sum over hosts is given up as soon as a connection breaks.

    Raises:
      RuntimeError: instead of the errors of a broken connection.
    """
    try:
        yield
    except (
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.UnavailableError,
    ) as error:
        if not spans_hosts(strategy):
            raise
        raise RuntimeError(
            "another host of TF_CONFIG has ended or cannot be reached, so this "
            "one ends too. Start the same command on all hosts: it resumes "
            "from the last checkpoint."
        ) from error


@functools.cache
def _sum_over_replicas(strategy):
    """A compiled sum of each replica's scalar."""

    @tf.function(autograph=False)
    def total(value):
        parts = strategy.run(tf.identity, args=(value,))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None)

    return total


def _automatic(num_gpus, num_replicas):
    if _cluster():
        return "multi_worker"
    count = num_gpus if num_replicas is None else num_replicas
    return "mirrored" if count > 1 else "one"


def _cluster():
    """The hosts that TF_CONFIG names, with this one's index checked; or {}."""
    words = os.environ.get("TF_CONFIG") or "{}"
    try:
        config = json.loads(words)
    except (ValueError, RecursionError) as error:
        raise _bad_cluster(f"not JSON ({error})") from error
    if not isinstance(config, dict):
        raise _bad_cluster(words)
    cluster = config.get("cluster") or {}
    if not cluster:
        return {}
    if not isinstance(cluster, dict) or not set(cluster) <= set(_KINDS):
        raise _bad_cluster(f"cluster={json.dumps(cluster)}")
    for kind, hosts in cluster.items():
        fits = isinstance(hosts, list) and hosts
        if not fits or not all(_ADDRESS.fullmatch(str(h)) for h in hosts):
            raise _bad_cluster(f"{kind}={json.dumps(hosts)}")
    if len(cluster.get("chief", [])) > 1:
        raise _bad_cluster(f"chief={json.dumps(cluster['chief'])}")
    _check_task(cluster, config.get("task"))
    return cluster


def _check_task(cluster, task):
    given = isinstance(task, dict)
    hosts = cluster.get(str(task.get("type")), []) if given else []
    index = task.get("index") if given else None
    if isinstance(index, str) and index.isdecimal():
        index = int(index)  # as TensorFlow takes it
    if type(index) is not int or not 0 <= index < len(hosts):
        raise _bad_cluster(
            f"task={json.dumps(task)} in a cluster of "
            + ", ".join(f"{len(cluster[kind])} {kind}" for kind in cluster)
        )


def _bad_cluster(received):
    return ValueError(
        'TF_CONFIG must name all hosts and this one, as {"cluster": {"worker": '
        '["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", '
        f'"index": 0}}}}. Received: {received}. Correct it, or unset it to '
        "train on this host alone."
    )


def _multi_worker(num_replicas):
    _cluster()
    if not os.environ.get("TF_CONFIG"):
        raise ValueError(
            "strategy=multi_worker reads hosts and ports from the environment "
            "variable TF_CONFIG. Received: none. See "
            "tf.distribute.MultiWorkerMirroredStrategy."
        )
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    count = strategy.num_replicas_in_sync
    if num_replicas not in (None, count):
        raise ValueError(
            f"TF_CONFIG and the GPUs make {count} replicas. Received: "
            f"num_replicas={num_replicas}. Leave it out."
        )
    return strategy


def _split_cpu(count):
    """Splits the CPU into logical devices; once per process."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * count
    try:
        tf.config.set_logical_device_configuration(cpu, logical)
    except RuntimeError as error:
        there = len(tf.config.list_logical_devices("CPU"))
        if there != count:
            raise ValueError(
                "the CPU can be split only before the first operation. "
                f"Received: num_replicas={count} with {there} devices in use. "
                "Start a new process."
            ) from error
