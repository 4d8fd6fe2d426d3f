"""Fine-tuning that is interrupted, and its precision."""

import keras
import numpy as np
import pytest

from tests.evaluation.test_finetune import (
    SETTINGS,
    coloured_source,
    linear_network,
    logits_of,
)
from tfclust import evaluation
from tfclust.evaluation import EvaluationConfig, FeatureStore, Subject
from tfclust.evaluation.probes.resuming import Keeper
from tfclust.evaluation.probes.trainable import trainable_copy

EVERY = SETTINGS._replace(save_steps=2)


class Stopping(Keeper):
    """Ends the training after its first state."""

    def save(self, variables, step):
        super().save(variables, step)
        raise KeyboardInterrupt


def dropping_network():
    """Batch norm and dropout: statistics and a seed are state too."""
    images = keras.Input([None, None, 3])
    x = linear_network(batch_norm=True)(images)
    x = keras.layers.Dropout(0.3, seed=5)(x)
    return keras.Model(images, x)


def measured(settings=EVERY, keeper=None):
    return logits_of(
        dropping_network(),
        coloured_source(),
        coloured_source(9, seed=1),
        settings,
        keeper_of=lambda *of, **about: keeper,
    )


@pytest.mark.slow
def test_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path):
    store, steps = FeatureStore(tmp_path, 1 << 20), []
    expected = measured()
    with pytest.raises(KeyboardInterrupt):
        measured(keeper=Stopping(store, "key"))

    class Counting(Keeper):
        def load(self, variables):
            steps.append(super().load(variables))
            return steps[0]

    found = measured(keeper=Counting(store, "key"))

    np.testing.assert_array_equal(found, expected)
    assert steps == [2]
    assert store.get_all("key") is None  # it is done


@pytest.mark.slow
def test_state_of_another_shape_is_not_used(tmp_path):
    store = FeatureStore(tmp_path, 1 << 20)
    store.put_all("key", {"00000": np.zeros(3), "step": np.int64(4)})
    found = measured(keeper=Keeper(store, "key"))
    np.testing.assert_array_equal(found, measured())


def test_state_belongs_to_one_training(tmp_path):
    store = FeatureStore(tmp_path, 1 << 20)

    one, other = linear_network(), linear_network(batch_norm=True)

    def key(network=one, seed=0, **about):
        subject = Subject(
            evaluation.keras_network(network),
            coloured_source(seed=seed),
            coloured_source(9, seed=1),
            image_size=8,
            store=store,
        )
        about = {"settings": SETTINGS, "image_size": 8, **about}
        return subject.keeper(subject.train, "fine-tuning", **about)._key

    assert key() == key()
    others = {
        key(other),
        key(seed=2),
        key(image_size=9),
        key(settings=SETTINGS._replace(rate=0.1)),
    }
    assert len(others | {key()}) == 5


def test_nothing_is_kept_without_a_place_or_a_digest(tmp_path):
    def subject(network, store):
        sources = coloured_source(), coloured_source(9, seed=1)
        return Subject(network, *sources, image_size=8, store=store)

    store = FeatureStore(tmp_path, 1 << 20)
    network = evaluation.keras_network(linear_network())
    for one in (
        subject(network, None),
        subject(network._replace(digest=""), store),
    ):
        assert one.keeper(one.train, "fine-tuning") is None


def test_protocol_keeps_its_state_with_the_features(tmp_path, monkeypatch):
    store, kept = FeatureStore(tmp_path, 1 << 20), []
    save = Keeper.save

    def saved(keeper, variables, step):
        kept.append(step)
        save(keeper, variables, step)

    monkeypatch.setattr(Keeper, "save", saved)
    for every in (4, 0):
        evaluation.evaluate(
            {"trained": evaluation.keras_network(linear_network())},
            coloured_source(),
            coloured_source(9, seed=1),
            EvaluationConfig(
                protocols=("finetune",),
                finetune_steps=5,
                finetune_rate=0.1,
                finetune_head_rate=0.1,
                finetune_save_steps=every,
            ),
            image_size=8,
            store=store,
        )
    assert kept == [4] and not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "clip_norm"), [("bfloat16", None), ("float16", 0.05)]
)
def test_half_precision_is_near_float32(precision, clip_norm):
    def logits(precision):
        settings = SETTINGS._replace(
            steps=4, rate=0.1, head_rate=0.1,
            clip_norm=clip_norm, precision=precision,
        )  # fmt: skip
        network = linear_network(batch_norm=True)
        test = coloured_source(9, seed=1)
        return logits_of(network, coloured_source(), test, settings)

    exact, found = logits("none"), logits(precision)
    assert found.dtype == np.float32
    # Eight bits of bfloat16 in the features; and it is another number.
    np.testing.assert_allclose(found, exact, atol=0.05)
    assert (found != exact).any()


def test_trunk_computes_in_half_precision_with_float32_weights():
    network = evaluation.keras_network(linear_network())
    layer = trainable_copy(network, "bfloat16").get_layer("units")
    assert layer.compute_dtype == "bfloat16"
    assert layer.kernel.dtype == "float32"
