"""Strategies, precision and threads, as far as one process can have them.

Replicas and hosts are tried by the commands' tests, in processes of their own.
"""

import os

import keras
import pytest
import tensorflow as tf

from tfclust.runtime import cores, devices


@pytest.mark.parametrize("kind", ["auto", "one"])
def test_one_device_means_no_strategy(kind, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    strategy = devices.make_strategy(kind, 1)
    assert strategy is tf.distribute.get_strategy()
    assert devices.is_chief(strategy)
    assert devices.any_host(strategy, True)
    assert not devices.any_host(strategy, False)


@pytest.mark.parametrize(
    ("kind", "num_replicas", "message"),
    [
        ("one", 2, "strategy=one means one replica.*num_replicas=2"),
        ("multi_worker", None, "TF_CONFIG. Received: none"),
        # The CPU of this process is in use as a whole.
        ("mirrored", 3, "num_replicas=3 with 1 devices in use"),
    ],
)
def test_devices_that_are_not_there_are_refused(
    kind, num_replicas, message, monkeypatch
):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("counts the CPU's devices")
    tf.zeros([])
    with pytest.raises(ValueError, match=message):
        devices.make_strategy(kind, num_replicas)


@pytest.mark.parametrize("kind", devices.PRECISIONS)
def test_precision_holds_inside_alone(kind):
    with devices.precision(kind):
        assert keras.config.dtype_policy().name == devices.PRECISIONS[kind]
    assert keras.config.dtype_policy().name == "float32"


def test_precision_is_given_back_after_an_error():
    with pytest.raises(KeyError), devices.precision("bfloat16"):
        raise KeyError
    assert keras.config.dtype_policy().name == "float32"


def test_threads_default_to_the_usable_processors():
    assert devices.set_threads() >= 1
    assert cores.usable_cpus() == len(os.sched_getaffinity(0))


@pytest.fixture
def optimizer_options():
    """Leaves TensorFlow's graph optimizer as it was."""
    name = "arithmetic_optimization"
    before = tf.config.optimizer.get_experimental_options().get(name, True)
    yield
    tf.config.optimizer.set_experimental_options({name: before})


def test_repeatable_sums_are_left_in_their_order(optimizer_options):
    """Else Grappler joins them into AddN, whose order depends on timing."""
    devices.seed_everything(0, deterministic=True)
    options = tf.config.optimizer.get_experimental_options()
    assert options["arithmetic_optimization"] is False
