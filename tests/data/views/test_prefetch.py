"""Batches wait on the device that computes; a part of the CPU stands for it."""

import pytest

from tests.support.processes import run_in_subprocess

BATCHES = """
import pathlib, tempfile
import numpy as np, tensorflow as tf
from PIL import Image
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tfclust import data
from tfclust.runtime.sharing import distribute

folder = pathlib.Path(tempfile.mkdtemp())
for i in range(12):
    pixels = np.random.default_rng(i).integers(0, 256, (20, 16, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f"{i}.png")
source = data.open_source(f"folder:{folder}")
views = data.Views(source, batch_size=4, image_size=16)


def batches(strategy, start=0):
    return distribute(
        strategy,
        lambda **shards: views.batches(0, start_step=start, **shards))


def where(x):
    return x.device.rsplit("device:", 1)[-1]


plain = [tf.nest.map_structure(np.array, b) for b in views.batches(0)]
print("without a GPU", {where(b["index"])
                        for b in batches(tf.distribute.get_strategy())})
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for batch in batches(mirrored):
    parts = tf.nest.flatten(batch)
    print("mirrored", *[where(x) for part in parts for x in part.values])

devices = tf.config.list_logical_devices
tf.config.list_logical_devices = (
    lambda kind=None: [devices("CPU")[1]] if kind == "GPU" else devices(kind))
for start in (0, 1):
    found = list(batches(tf.distribute.get_strategy(), start))
    assert len(found) == 3 - start
    for batch, expected in zip(found, plain[start:], strict=True):
        for x, y in zip(*map(tf.nest.flatten, (batch, expected)), strict=True):
            np.testing.assert_array_equal(x, y)
            print("one GPU", where(x))
for batch, expected in zip(batches(mirrored), plain, strict=True):
    for x, y in zip(*map(tf.nest.flatten, (batch, expected)), strict=True):
        np.testing.assert_array_equal(np.concatenate(x.values), y)
        print("several GPUs", *[where(part) for part in x.values])


def broken(num_shards, shard):
    raise StopIteration("made by mistake")


for strategy in (mirrored, tf.distribute.get_strategy()):
    try:
        list(distribute(strategy, broken))
    except RuntimeError as error:
        print("an error", error.__cause__)
early = batches(tf.distribute.get_strategy())
next(early)
early.close()  # an epoch that is stopped waits for the batch ahead alone
graph = tf.compat.v1.get_default_graph().as_graph_def()
print("functions left in the graph", len(graph.library.function))
"""


@pytest.mark.slow
def test_batches_come_on_the_device_that_computes_bit_for_bit():
    lines = set(run_in_subprocess(BATCHES).splitlines())
    parts = " ".join(["CPU:0", "CPU:1"] * 3)
    assert lines == {
        "without a GPU {'CPU:0'}",
        f"mirrored {parts}",
        "one GPU CPU:1",
        "several GPUs CPU:0 CPU:1",
        "an error made by mistake",
        "functions left in the graph 0",
    }
