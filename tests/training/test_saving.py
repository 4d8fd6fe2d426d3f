"""When a run is saved, and that what is saved can be learnt from."""

import types

import keras
import numpy as np
import pytest

from tests.support import contract_run
from tests.support.tiny import tiny_backbone
from tfclust import methods, optimizers
from tfclust.runs import checkpoints
from tfclust.runs.recipes import make_recipe
from tfclust.training.callbacks import stopping
from tfclust.training.callbacks.saver import Saver
from tfclust.training.session import Session


class Untouchable:
    """A loss that is still being computed."""

    def __array__(self, *_, **__):
        raise AssertionError("the host waits for the device")

    __float__ = __bool__ = __array__


class Model:
    """What the saver asks of a method."""

    def __init__(self, weights=(1.0,)):
        self.weight = keras.Variable(np.float32(weights), name="kernel")
        self.unknown_as_nan = ("unknown",)
        self.distribute_strategy = None
        self.stop_training = False

    def state(self):
        return {
            "kernel": self.weight.numpy(),
            "unknown": np.float32(np.nan),
            "empty": np.zeros([0, 3], np.float32),
            "labels": np.array([-1, 3], np.int32),
        }


def saver(workdir, *, steps_per_epoch=1000, every_steps=0):
    """A saver of a run of two epochs, whose rate is the step."""
    session = Session(
        make_recipe(epochs=2, checkpoint_steps=every_steps),
        Model(),
        types.SimpleNamespace(steps_per_epoch=steps_per_epoch),
        None,
        workdir,
        {},
        chief=True,
        start_step=0,
        say=print,
    )
    one = Saver(session, stopping.StopRequest())
    one.rate = lambda step: 10.0 + step
    one.set_model(Model())
    return one


def train(saver, losses, first=0):
    for step, loss in enumerate(losses, first):
        saver.on_train_batch_end(step, {"loss": loss})


def test_no_step_waits_for_its_loss(tmp_path):
    train(saver(tmp_path), [Untouchable()] * (stopping.Losses.look_steps - 1))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_first_bad_loss_is_named_with_its_rate_before_a_checkpoint(
    tmp_path, bad
):
    one = saver(tmp_path, every_steps=5)
    train(one, [1.0] * 7)
    with pytest.raises(
        ValueError,
        match=f"loss is {bad} at step 8, with a learning rate of 17;.*step 5",
    ):
        train(one, [bad, np.nan, np.nan], first=7)
    assert checkpoints.latest(tmp_path).step == 5


def test_bad_loss_is_found_within_a_hundred_steps(tmp_path):
    one = saver(tmp_path)
    with pytest.raises(ValueError, match="at step 3, .*checkpoint: none"):
        train(one, [1.0, 1.0] + [np.nan] * 98)


def test_bad_loss_is_found_before_an_epochs_figures(tmp_path):
    with pytest.raises(ValueError, match="at step 4,"):
        train(saver(tmp_path, steps_per_epoch=4), [1.0, 1.0, 1.0, np.nan])


def test_bad_loss_is_found_when_asked_to_stop(tmp_path):
    one = saver(tmp_path)
    one.stop.asked = True
    with pytest.raises(ValueError, match="at step 1,"):
        train(one, [np.nan])


def test_weights_that_the_last_step_broke_are_not_saved(tmp_path):
    """Their loss would be the next one, after the checkpoint."""
    one = saver(tmp_path, every_steps=5)
    train(one, [1.0] * 9)
    one.model.weight.assign([np.inf])
    with pytest.raises(
        ValueError,
        match="kernel holds NaN.*after step 10, .*checkpoint: step 5",
    ):
        train(one, [1.0], first=9)
    assert checkpoints.latest(tmp_path).step == 5


def test_variance_that_overflows_is_found_though_no_loss_tells():
    """As CoKe's on black images; every trained variable stays finite."""
    backbone = tiny_backbone(batch_norm=True)
    method = methods.SwAV(backbone, num_clusters=3, queue_rows=0)
    method.compile(optimizers.SGD(0.1))
    assert stopping.broken_array(method.state()) is None
    backbone.layers[1].kernel.assign(backbone.layers[1].kernel * 1e30)
    images = np.random.default_rng(0).uniform(size=(4, 9, 9, 3))
    features = method.backbone(np.float32(images), training=True)
    assert np.isfinite(features).all()
    name = stopping.broken_array(method.state())
    assert name.startswith("backbone/") and name.endswith("moving_variance")


def test_method_says_itself_where_nan_is_no_fault():
    method = contract_run.build("deepcluster")
    method.prepare(contract_run.views())
    state = method.state()
    assert np.isnan(state["label_nmi"])
    assert stopping.broken_array(state) == "label_nmi"
    assert stopping.broken_array(state, method.unknown_as_nan) is None
