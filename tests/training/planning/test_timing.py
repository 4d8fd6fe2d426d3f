"""What a plan counts as the time of labels."""

import time
import types

import pytest
import tensorflow as tf

from tfclust.training.planning import timing


def labeller(due, seconds=0.05, steps_per_epoch=4):
    """A stand-in for a method that labels before the steps `due`."""
    method = types.SimpleNamespace(
        views=types.SimpleNamespace(steps_per_epoch=steps_per_epoch),
        epoch=tf.Variable(0, dtype=tf.int64),
        extract=None,
        reassign_due=lambda step: step in due,
        reassign=lambda extract: time.sleep(seconds),
    )
    return method


@pytest.mark.parametrize(
    ("due", "passes_an_epoch"),
    [(range(0, 40, 4), 0.9), (range(0, 40, 8), 0.4), ((0, 20), 0.1)],
)
def test_labels_cost_what_their_passes_take_spread_over_epochs(
    due, passes_an_epoch
):
    method = labeller(due)
    seconds = timing._label_seconds(method, total_steps=40)
    # sleep() may oversleep, on a busy machine by a lot; never undersleeps.
    assert 0.05 <= seconds / passes_an_epoch < 0.5
    assert int(method.epoch.numpy()) == 1  # DeepCluster-v2 fills its bank in 0


def test_labels_that_are_made_once_cost_nothing_an_epoch():
    # ODC's; they are part of the start.
    assert timing._label_seconds(labeller((0,)), total_steps=40) == 0.0
