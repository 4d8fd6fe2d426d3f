"""Fine-tuning against a NumPy loop of SwAV's settings."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.processes import run_in_subprocess
from tfclust import data, evaluation
from tfclust.evaluation import EvaluationConfig, targets
from tfclust.evaluation.probes import finetuning, tuning

SETTINGS = tuning.Settings(
    steps=9, rate=0.3, head_rate=2.0, drops=((0.5, 0.2), (0.8, 0.1))
)


def coloured_source(num_images=30, *, seed=0, labels=None):
    """Noisy images of three colours."""
    random = np.random.default_rng(seed)
    colour = np.arange(num_images) % 3
    images = random.integers(0, 120, size=[num_images, 8, 8, 3])
    images[np.arange(num_images), :, :, colour] += 100
    labels = colour if labels is None else labels
    return data.ArraySource(
        images.astype(np.uint8), labels, uri=f"array:{seed}"
    )


def linear_network(batch_norm=False):
    """The mean colour, then five units."""
    keras.utils.set_random_seed(1)
    images = keras.Input([None, None, 3])
    x = keras.layers.GlobalAveragePooling2D()(images)
    x = keras.layers.Dense(5, name="units")(x)
    if batch_norm:
        x = keras.layers.BatchNormalization(name="norm")(x)
    return keras.Model(images, x)


def logits_of(network, train, test, settings=SETTINGS, **knobs):
    found = targets.of_sources(train, test)
    knobs = {"image_size": 8, "batch_size": 10, **knobs}
    network = evaluation.keras_network(network)
    outputs = finetuning.outputs(network, train, test, found, settings, **knobs)
    assert np.isfinite(outputs.train_loss)
    return outputs.logits


def softmax(x):
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return x / x.sum(axis=1, keepdims=True)


def loop(network, head, train, test, settings, batch_size):
    """The same in float64; the crops alone are the library's."""
    views = data.Views(
        train,
        view_sizes=(8,),
        num_views=(1,),
        view_scales=((0.08, 1.0),),
        augmentation="none",
        flip_probability=0.5,
        batch_size=batch_size,
        passes=21,  # 64 steps of 10 among 30 images
    )
    units = network.get_layer("units").get_weights()
    weights = [np.float64(w) for w in (*units, *head)]
    velocities = [np.zeros_like(w) for w in weights]
    for step, batch in zip(range(settings.steps), views.batches(0)):  # noqa: B905
        x = np.float64(views.on_device(batch)[0][0]).mean(axis=(1, 2))
        features = x @ weights[0] + weights[1]
        error = softmax(features @ weights[2] + weights[3])
        error[np.arange(len(x)), train.labels[batch["index"]]] -= 1
        error /= len(x)
        back = error @ weights[2].T
        gradients = [
            x.T @ back, back.sum(0), features.T @ error, error.sum(0),
        ]  # fmt: skip
        factor = 1.0
        for share, drop in settings.drops:
            factor *= drop if step >= round(share * settings.steps) else 1.0
        rates = [settings.rate] * 2 + [settings.head_rate] * 2
        for i, gradient in enumerate(gradients):
            decay = settings.weight_decay * weights[i]
            velocities[i] = 0.9 * velocities[i] + gradient + decay
            weights[i] = weights[i] - factor * rates[i] * velocities[i]
    pixels = np.float64(test.stored()[:, 1:-1, 1:-1]) / 255
    features = pixels.mean(axis=(1, 2)) @ weights[0] + weights[1]
    return features @ weights[2] + weights[3]


def test_both_rates_drops_and_decay_follow_a_numpy_loop(monkeypatch):
    train, test = coloured_source(), coloured_source(9, seed=1)
    network = linear_network()
    heads = []
    linear = finetuning.dense.linear

    def kept(*args, **knobs):
        layer = linear(*args, **knobs)
        heads.append(layer)
        return layer

    monkeypatch.setattr(finetuning.dense, "linear", kept)
    settings = SETTINGS._replace(weight_decay=0.1)
    # No step is taken with both rates at 0, so this is the head's start.
    still = settings._replace(rate=0.0, head_rate=0.0, steps=1)
    logits_of(network, train, test, still)
    head = heads[0].get_weights()
    found = logits_of(network, train, test, settings)
    expected = loop(network, head, train, test, settings, 10)
    # Nine float32 steps at a rate of 2.
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(head[0]).max() <= 5**-0.5 and head[1].any()


def test_a_seed_repeats_every_bit_whatever_the_test_labels_say():
    train, test = coloured_source(), coloured_source(9, seed=1)
    blind = np.random.default_rng(0).integers(0, 3, 9)
    others = coloured_source(9, seed=1, labels=blind)
    network = linear_network(batch_norm=True)
    before = [w.copy() for w in network.get_weights()]
    first, again = (logits_of(network, train, of) for of in (test, others))
    np.testing.assert_array_equal(first, again)
    # What is measured by other protocols later stays as it is.
    for new, old in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(new, old)
    other = logits_of(network, train, test, SETTINGS._replace(seed=1))
    assert np.abs(first - other).max() > 1e-3


def trained_parts(settings, monkeypatch):
    """What `tune` trains for a network with batch norm."""
    kept = []
    whole = tuning.tune

    def tune(*args):
        kept.append(whole(*args))
        return kept[-1]

    monkeypatch.setattr(tuning, "tune", tune)
    network = linear_network(batch_norm=True)
    logits_of(network, coloured_source(), coloured_source(9, seed=1), settings)
    return network, kept[0].parts.trunk


@pytest.mark.parametrize(
    ("knobs", "changed"),
    [
        ({"rate": 0.0}, set()),
        ({"train_statistics": False}, {"units", "gamma"}),
        ({}, {"units", "gamma", "moving"}),
    ],
)
def test_what_is_trained_is_what_is_asked_for(knobs, changed, monkeypatch):
    network, trunk = trained_parts(SETTINGS._replace(**knobs), monkeypatch)
    found = {
        word
        for old, new in zip(network.weights, trunk.weights, strict=True)
        for word in ("units", "gamma", "moving")
        if word in old.path and np.abs(old.numpy() - new.numpy()).max() > 0
    }
    assert found == changed


def test_unlabelled_images_are_left_out_of_training():
    labels = np.where(np.arange(30) < 20, np.arange(30) % 3, -1)
    some, test = coloured_source(labels=labels), coloured_source(9, seed=1)
    found = targets.of_sources(some, test)
    left, wanted = finetuning._labelled(some, found)
    assert left.num_images == 20 and found.classes == ("0", "1", "2")
    np.testing.assert_array_equal(wanted, np.arange(20) % 3)


def test_gradients_are_clipped_all_together():
    gradients = [tf.constant([3.0, 0.0]), tf.constant([[4.0]])]
    clipped = tuning._clipped(gradients, 1.0)
    np.testing.assert_allclose(clipped[0], [0.6, 0.0], rtol=1e-6)
    np.testing.assert_allclose(clipped[1], [[0.8]], rtol=1e-6)


def test_loss_of_sets_sums_known_labels_alone():
    random = np.random.default_rng(0)
    logits = random.normal(size=[6, 4]).astype(np.float32)
    sets = random.integers(-1, 2, [6, 4])
    expected = []
    for row, has in zip(logits, sets, strict=True):
        p = 1 / (1 + np.exp(-row))
        each = np.where(has == 1, -np.log(p), -np.log(1 - p))
        expected.append(each[has != -1].sum())
    found = finetuning.set_losses(tf.constant(logits), tf.constant(sets))
    np.testing.assert_allclose(found.loss, expected, rtol=1e-5)


def test_rates_without_drops_fall_on_half_a_cosine():
    rate = tuning.schedule(SETTINGS._replace(drops=None, steps=100))
    assert [round(float(rate(s)), 3) for s in (0, 50, 100)] == [1.0, 0.5, 0.0]


def test_a_loss_that_is_no_number_ends_with_a_sentence():
    wild = SETTINGS._replace(rate=1e30, head_rate=1e30)
    with pytest.raises(RuntimeError, match="no longer a number at step"):
        logits_of(linear_network(), coloured_source(), coloured_source(9), wild)


CONFIG = EvaluationConfig(
    protocols=("finetune",),
    finetune_steps=30,
    finetune_rate=0.1,
    finetune_head_rate=2.0,
    finetune_batch_size=10,
)


def evaluated(backbones, train, test, config=CONFIG):
    return evaluation.evaluate(backbones, train, test, config, image_size=8)


def test_few_labels_are_learnt_and_what_is_no_network_is_left_out():
    results = evaluated(
        {
            "trained": evaluation.keras_network(linear_network()),
            "pixels": evaluation.pixels,
        },
        coloured_source(12),
        coloured_source(9, seed=1),
    )
    assert results["pixels"] == {"finetune": {}}
    figures = results["trained"]["finetune"]
    assert figures["top1"] == 1.0 and figures["num_labelled"] == 12
    assert figures["chance"] == pytest.approx(1 / 3)
    table = evaluation.format_table(results).splitlines()
    title, *values = table[2].split("  ")
    assert title == "fine-tuned on 12 labels, top-1 %"
    assert [v.strip() for v in values if v] == ["100.0", "-", "33.3"]


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (np.zeros(12, int), None, "at least two classes"),
        (np.arange(12) % 2, None, "Received: 2 in test_data=array:1"),
        (None, np.full(9, -1), "label -1, which stands for none, for all 9"),
    ],
)
def test_labels_that_do_not_fit_are_refused_before_any_step(train, test, words):
    def never(images):
        raise AssertionError

    with pytest.raises(ValueError, match=words):
        evaluated(
            {"trained": evaluation.Network(never, keras_model=never)},
            coloured_source(12, labels=train),
            coloured_source(9, seed=1, labels=test),
        )


def test_what_is_no_keras_network_is_refused_by_its_type():
    with pytest.raises(ValueError, match="Received: a function"):
        evaluated(
            {"mine": lambda images: images[:, 0, 0]},
            coloured_source(12),
            coloured_source(9, seed=1),
        )


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"finetune_rate": 0.0, "finetune_head_rate": 0.0}, "must not both"),
        ({"finetune_crop_scale": (0.5, 0.1)}, "smallest <= largest"),
    ],
)
def test_impossible_knobs_are_named(knobs, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(CONFIG, **knobs)


REPLICAS = """
import numpy as np
from tests.evaluation import test_finetune as t
from tfclust.runtime import devices
strategy = devices.make_strategy(*{strategy})
found = t.logits_of(
    t.linear_network(batch_norm=True), t.coloured_source(),
    t.coloured_source(9, seed=1),
    t.SETTINGS._replace(clip_norm=0.5), strategy=strategy)
np.save({path!r}, found)
"""


@pytest.mark.slow
def test_two_replicas_equal_one(tmp_path):
    found = []
    for kind in (("one",), ("mirrored", 2)):
        path = str(tmp_path / f"{kind[0]}.npy")
        run_in_subprocess(REPLICAS.format(strategy=kind, path=path))
        found.append(np.load(path))
    # Sums over replicas come in another order.
    np.testing.assert_allclose(*found, atol=1e-5)
