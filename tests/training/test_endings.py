"""Runs that are stopped, fail or collapse, and what resumes from them."""

import contextlib
import re
import signal

import numpy as np
import pytest
import tensorflow as tf

from tests.support.disk import full_disk
from tests.support.marks import slow
from tests.support.small_runs import (
    At,
    interrupted,
    quietly,
    recipe,
    without_times,
)
from tfclust.runs import checkpoints, metrics
from tfclust.runtime import folders, full_memory, locks

pytestmark = pytest.mark.usefixtures("one_block")

RESUMED = {
    "swav": {"freeze_steps": 2, "queue_rows": 32, "queue_start_epoch": 0},
    "deepcluster_v2": {"num_clusters": (5, 6)},
    "deepcluster": {"pca_width": 4},
    "sela": {"num_clusters": (5, 6), "num_label_steps": 5},
    "sela_v2": {"num_clusters": (5, 6)},
    "odc": {"hidden_width": 8},
    "coke": {
        "num_clusters": (5, 6),
        "hidden_width": 8,
        "second_stage_epoch": 1,
    },
}


@pytest.mark.parametrize(
    "method", [m if m == "swav" else slow(m) for m in RESUMED]
)
def test_interrupted_and_resumed_run_equals_one_never_stopped(tmp_path, method):
    """Stopped within the second epoch; every array, bit for bit."""
    knobs = {"freeze_steps": None, **RESUMED[method]}
    whole = recipe(tmp_path / "whole", method=method, **knobs)
    parts = recipe(tmp_path / "parts", method=method, **knobs)
    expected, _ = quietly(whole)
    stopped, said = interrupted(parts, 5)
    assert (stopped.step, stopped.interrupted) == (6, True)
    assert "step 6 of 8 is saved" in said[-1]
    resumed, said = quietly(parts)
    assert "from step 6" in said[0]
    assert (resumed.step, resumed.interrupted) == (8, False)
    arrays, wanted = resumed.method.state(), expected.method.state()
    assert arrays.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)
    assert without_times(
        metrics.read_metrics(resumed.workdir)
    ) == without_times(metrics.read_metrics(expected.workdir))


def test_run_interrupted_at_an_epochs_end_saves_its_figures(tmp_path):
    stopped, _ = interrupted(recipe(tmp_path), 3, signal.SIGINT)
    assert (stopped.step, stopped.interrupted) == (4, True)
    assert [f["epoch"] for f in metrics.read_metrics(tmp_path)] == [1]
    assert checkpoints.latest(tmp_path).step == 4


def test_signals_are_given_back_after_training(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    interrupted(recipe(tmp_path), 0)
    assert signal.getsignal(signal.SIGTERM) is before


def test_checkpoints_within_epochs_are_kept_on_request(tmp_path):
    quietly(recipe(tmp_path, checkpoint_steps=3, keep_checkpoints=9, epochs=1))
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert [int(name) for name in names] == [3, 4]


def test_workdir_in_use_is_refused(tmp_path):
    with (
        locks.lock(tmp_path),
        pytest.raises(locks.BusyError, match="in use"),
    ):
        quietly(recipe(tmp_path))


def test_loss_that_is_no_number_ends_the_run_and_saves_nothing(tmp_path):
    wild = recipe(tmp_path, learning_rate=1e30, freeze_steps=0)
    with pytest.raises(ValueError, match="checkpoint: none. Lower learning_r"):
        quietly(wild)
    assert checkpoints.latest(tmp_path) is None
    assert metrics.read_metrics(tmp_path) == []


def test_bad_loss_names_step_and_rate_and_leaves_the_last_good_state(tmp_path):
    """The rate jumps in the second epoch; the first one's state resumes."""
    knobs = {"schedule": "constant", "learning_rate": 0.1}
    wild = recipe(tmp_path, rate_drops=((1.0, 1e30),), **knobs)
    with pytest.raises(ValueError) as error:
        quietly(wild)
    told = re.search(
        r"the loss is nan at step (\d), with a learning rate of 1e\+29; .* "
        r"Last good checkpoint: step 4\. .*--allow_config_change then resumes",
        str(error.value),
    )
    assert told and int(told[1]) in (6, 7)
    assert checkpoints.latest(tmp_path).step == 4
    assert [f["epoch"] for f in metrics.read_metrics(tmp_path)] == [1]
    calm, _ = quietly(recipe(tmp_path, allow_config_change=True, **knobs))
    assert calm.step == 8


def test_run_on_a_full_disk_ends_and_goes_on_when_there_is_room(tmp_path):
    with contextlib.ExitStack() as disk:
        fill = At(5, lambda: disk.enter_context(full_disk(10_000)))
        with pytest.raises(folders.DiskError, match="step 8 .*point: step 4"):
            quietly(recipe(tmp_path), callbacks=[fill])
    resumed, said = quietly(recipe(tmp_path))
    assert "from step 4" in said[0] and resumed.step == 8
    assert [f["epoch"] for f in metrics.read_metrics(tmp_path)] == [1, 2]


def test_a_full_memory_ends_a_run_with_a_batch_to_try(tmp_path):
    def fail():
        raise tf.errors.ResourceExhaustedError(
            None, None, "OOM when allocating"
        )

    with pytest.raises(full_memory.FullMemory, match="Give --batch_size=8"):
        quietly(recipe(tmp_path), callbacks=[At(1, fail)])
