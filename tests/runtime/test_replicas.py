"""Rows and sums over replicas, each strategy in a process of its own."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.support import processes
from tests.support.processes import run_in_subprocess
from tfclust.runtime import replicas

TYPES = "float32 float16 bfloat16 float64 int64 int32 int16 int8 uint8 bool"

START = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import numpy as np
import tensorflow as tf
from tfclust.runtime import replicas
from tfclust.ops.sinkhorn import balanced_codes

def two_cpus():
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, logical)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

def by_replica(strategy, values):
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(values[context.replica_id_in_sync_group])
    )
"""

# Both strategies promise the same; the tests differ in how one is set up.
CHECK = f"""
rows = np.arange(12.0, dtype=np.float32).reshape([2, 3, 2])

def check(dtype):
    @tf.function
    def step(own):
        own = tf.cast(own, dtype)
        gathered = replicas.all_gather(own)
        assert gathered.shape == [6, 2], gathered.shape
        mine = replicas.own_rows(gathered, 3)
        assert mine.shape == [3, 2], mine.shape
        same = tf.reduce_all(mine == own)
        return gathered, same, replicas.all_sum(own)

    results = strategy.run(step, args=(by_replica(strategy, rows),))
    local = [strategy.experimental_local_results(x) for x in results]
    for gathered, same, total in zip(*local, strict=True):
        expected = tf.cast(rows, dtype)
        assert gathered.dtype == dtype
        assert np.array_equal(gathered, tf.reshape(expected, [6, 2])), dtype
        assert same
        if dtype == tf.bool:
            expected = tf.cast(expected, tf.int32)
        assert total.dtype == expected.dtype
        assert np.array_equal(total, expected[0] + expected[1]), dtype

for name in "{TYPES}".split():
    check(tf.as_dtype(name))
assert replicas.num_replicas() == 1
with strategy.scope():
    assert replicas.num_replicas() == 2
print("checked")
"""


def test_one_replica_changes_nothing():
    rows = tf.reshape(tf.range(6), [3, 2])
    assert replicas.num_replicas() == 1
    np.testing.assert_array_equal(replicas.all_gather(rows), rows)
    np.testing.assert_array_equal(replicas.own_rows(rows, 3), rows)
    np.testing.assert_array_equal(replicas.all_sum(rows), rows)


def test_one_replica_compiles_under_xla():
    @tf.function(jit_compile=True)
    def step(rows):
        gathered = replicas.all_gather(rows)
        return replicas.own_rows(gathered, 3) + replicas.all_sum(rows)

    np.testing.assert_array_equal(step(tf.ones([3, 2])), np.full([3, 2], 2))


def test_a_wrong_number_of_own_rows_is_refused():
    with pytest.raises(ValueError, match="num_rows=2, gathered rows=6"):
        replicas.own_rows(tf.zeros([6, 2]), 2)


# The promises of two mirrored replicas, checked by one process for its start
# takes seconds.
GRADIENTS = """
@tf.function
def step(own):
    with tf.GradientTape() as tape:
        tape.watch(own)
        # Each replica looks at the whole batch; row i weighs i.
        weights = tf.range(6.0)[:, None] / replicas.num_replicas()
        loss = tf.reduce_sum(weights * replicas.all_gather(own))
    return tape.gradient(loss, own)

found = strategy.run(step, args=(by_replica(strategy, rows),))
found = np.concatenate(strategy.experimental_local_results(found))
assert np.array_equal(found, np.repeat(np.arange(6.0)[:, None], 2, 1)), found
print("gradients")
"""

CODES = """
scores = np.random.default_rng(0).uniform(-1, 1, [2, 8, 5]).astype(np.float32)

@tf.function
def codes(own):
    whole = replicas.all_gather(own)
    return replicas.own_rows(
        balanced_codes(whole, epsilon=0.05, num_iters=3), 8
    )

found = strategy.run(codes, args=(by_replica(strategy, scores),))
found = np.concatenate(strategy.experimental_local_results(found))
whole = scores.reshape([16, 5])
expected = balanced_codes(whole, epsilon=0.05, num_iters=3)
assert np.array_equal(found, expected)
print("codes")
"""

OUTSIDE = """
with strategy.scope():
    for function in (replicas.all_gather, replicas.all_sum):
        try:
            function(tf.ones([2, 2]))
        except RuntimeError as error:
            assert "strategy.run" in str(error)
            print("refused", function.__name__)
"""


@pytest.fixture(scope="module")
def mirrored():
    setup = START + "strategy = two_cpus()\n"
    code = setup + CHECK + GRADIENTS + CODES + OUTSIDE
    return run_in_subprocess(code)


def test_mirrored_replicas_gather_in_order_sum_and_keep_types(mirrored):
    assert "checked" in mirrored


def test_gradients_of_gathered_rows_return_to_their_replica(mirrored):
    assert "gradients" in mirrored


def test_codes_of_two_replicas_are_those_of_one_to_the_bit(mirrored):
    assert "codes" in mirrored


def test_a_call_outside_run_is_refused_by_name(mirrored):
    assert "refused all_gather\nrefused all_sum" in mirrored


@pytest.mark.slow
def test_two_processes_gather_in_order_sum_and_keep_types():
    workers = [f"127.0.0.1:{port}" for port in processes.free_ports(2)]
    setup = "strategy = tf.distribute.MultiWorkerMirroredStrategy()\n"
    hosts = []
    for index in range(2):
        config = {
            "cluster": {"worker": workers},
            "task": {"type": "worker", "index": index},
        }
        code = f"import os; os.environ['TF_CONFIG'] = {json.dumps(config)!r}\n"
        code += START + setup + CHECK
        hosts.append(processes.start(["-c", code], fresh=index == 1))
    try:
        for host in hosts:
            output, errors = host.communicate(timeout=120)
            assert "checked" in output, errors[-4000:]
    finally:
        for host in hosts:
            host.kill()
