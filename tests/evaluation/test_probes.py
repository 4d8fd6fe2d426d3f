"""Probes by SGD against a NumPy loop of the papers' settings."""

import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfclust import data
from tfclust.evaluation.probes.recipe import ProbeConfig, rate_at
from tfclust.evaluation.probes.sgd import _result, sgd_probe
from tfclust.evaluation.probes.testing import FeatureTest, ImageTest

SGD = {"linear_epochs": 3, "linear_rate": 0.7, "linear_weight_decay": 0.01}
MILESTONES = {"linear_schedule": "milestones", "linear_milestones": (1, 2)}


def colour_of_quarters(images):
    """A frozen backbone without variables: mean colours of four quarters."""
    pooled = tf.nn.avg_pool2d(images, 4, 4, "VALID")  # [B, 2, 2, 3]
    return tf.reshape(pooled, [-1, 12])


def features_of(images):
    return {"features": colour_of_quarters(images)}


def coloured_source(num_images=50, seed=0):
    """Noisy images of three colours."""
    random = np.random.default_rng(seed)
    labels = np.arange(num_images) % 3
    images = random.integers(0, 120, size=[num_images, 8, 8, 3])
    images[np.arange(num_images), :, :, labels] += 100
    return data.ArraySource(images.astype(np.uint8), labels)


def three_tests():
    """Features of three images, for probes whose test does not matter."""
    rows = colour_of_quarters(tf.ones([3, 8, 8, 3])).numpy()
    return FeatureTest("features", rows, np.arange(3))


def probed(layers=features_of, test=None, train=None, **knobs):
    return sgd_probe(
        layers,
        train or coloured_source(),
        test or three_tests(),
        ProbeConfig(**{"linear_batch_size": 16, **knobs}),
        image_size=8,
    )


def rate_by_hand(config, epoch, step):
    rate = config.linear_rate
    return {
        "cosine": rate * np.cos(np.pi * epoch / config.linear_epochs / 2) ** 2,
        "milestones": rate * 10.0 ** -min(epoch, 2),
        "inverse_root": rate
        * (1 + rate * config.linear_weight_decay * step) ** -0.5,
    }[config.linear_schedule]


def sgd_loop(train, config, start):
    """The probe in float64; the crops alone are the library's."""
    views = data.Views(
        train,
        view_sizes=(8,),
        num_views=(1,),
        view_scales=((0.08, 1.0),),
        augmentation="none",
        flip_probability=0.5,
        batch_size=16,
    )
    weights, step = np.vstack(start).astype(np.float64), 0
    velocity = np.zeros_like(weights)
    for epoch in range(config.linear_epochs):
        for batch in views.batches(epoch):
            rows = colour_of_quarters(views.on_device(batch)[0][0]).numpy()
            rows = rows.astype(np.float64)
            if config.linear_batch_norm == "plain":
                rows = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5)
            rows = np.hstack([rows, np.ones([len(rows), 1])])  # [B, F + 1]
            scores = np.exp(rows @ weights)
            scores /= scores.sum(axis=1, keepdims=True)
            scores[np.arange(len(rows)), train.labels[batch["index"]]] -= 1
            gradient = rows.T @ scores / len(rows)
            gradient += config.linear_weight_decay * weights
            velocity = 0.9 * velocity + gradient
            move = velocity
            if config.linear_nesterov:
                move = 0.9 * velocity + gradient
            weights = weights - rate_by_hand(config, epoch, step) * move
            step += 1
    return weights


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {**MILESTONES, "linear_nesterov": True},
        {"linear_schedule": "inverse_root", "linear_batch_norm": "plain"},
    ],
)
def test_probe_follows_the_papers_step_by_step(knobs):
    train, config = coloured_source(), ProbeConfig(**SGD, **knobs)
    still = {"linear_rate": 0.0, "linear_epochs": 1, "linear_best_epoch": False}
    untouched = probed(train=train, **still)["features"].weights

    found = probed(train=train, **SGD, **knobs)["features"].weights[-2:]

    expected = sgd_loop(train, config, untouched[-2:])
    # Nine float32 steps.
    np.testing.assert_allclose(np.vstack(found), expected, atol=2e-5)
    # N(0, 0.01) to begin with: 36 values, so their deviation is within a half.
    assert 0.005 < untouched[0].std() < 0.015
    assert not untouched[1].any()


def test_inverse_root_is_deepclusters_rule_by_step():
    config = ProbeConfig(
        linear_rate=0.01,
        linear_weight_decay=1e-4,
        linear_schedule="inverse_root",
    )
    rates = [rate_at(config, 0, step) for step in (0, 10**6)]
    assert rates == pytest.approx([0.01, 0.01 / 2**0.5])


def test_layers_probed_together_are_those_probed_alone():
    def both(images):
        pooled = tf.nn.avg_pool2d(images, 2, 2, "VALID")  # [B, 4, 4, 3]
        return {"features": colour_of_quarters(images), "map": pooled}

    test = coloured_source(12, seed=1)
    cut = {"image_size": 8, "batch_size": 5}
    knobs = {**SGD, "linear_batch_norm": "affine"}

    def alone(name):
        def layers(images):
            return {name: both(images)[name]}

        return probed(layers, ImageTest(layers, test, **cut), **knobs)[name]

    together = probed(both, ImageTest(both, test, **cut), **knobs)

    assert list(together) == ["features", "map"]
    for name, found in together.items():
        expected = alone(name)
        np.testing.assert_array_equal(found.predictions, expected.predictions)
        for one, two in zip(found.weights, expected.weights, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-6)
    # Batch norm over the map's channels, not over its 48 values.
    assert together["map"].weights[0].shape == (3,)


def test_pass_over_images_tests_as_their_features_do():
    source = coloured_source(7, seed=1)
    images = tf.cast(source.stored()[:, 1:-1, 1:-1], tf.float32) / 255
    rows = colour_of_quarters(images).numpy()
    head = {"features": keras.Sequential([keras.layers.Dense(3)])}
    head["features"].build([None, 12])
    kept = FeatureTest("features", rows, source.labels).scores(head)
    passed = ImageTest(features_of, source, image_size=8, batch_size=3)
    # Images are bytes / 255 in both.
    np.testing.assert_allclose(
        passed.scores(head)["features"], kept["features"], atol=1e-6
    )


def ten_by_hand(image, size):
    """Corners and centre of `[H, W, 3]`, and their mirror images."""
    height, width = image.shape[:2]
    places = [
        (0, 0),
        (0, width - size),
        (height - size, 0),
        (height - size, width - size),
        ((height - size) // 2, (width - size) // 2),
    ]
    five = [image[top : top + size, left : left + size] for top, left in places]
    return np.stack([*five, *(crop[:, ::-1] for crop in five)])


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_ten_crops_are_averaged_as_asked(mean):
    random = np.random.default_rng(0)
    # Of the resized size already, so that nothing is interpolated.
    images = random.integers(0, 256, [3, 10, 14, 3], np.uint8)
    source = data.ArraySource(images, np.arange(3))
    head = keras.Sequential([keras.layers.Dense(4)])
    head.build([None, 12])
    test = ImageTest(
        features_of,
        source,
        crops=10,
        mean=mean,
        image_size=8,
        resize_size=10,
        batch_size=20,
    )

    found = test.scores({"features": head})["features"]

    for scores, image in zip(found, images, strict=True):
        crops = ten_by_hand(image, 8).astype(np.float32) / 255
        logits = head(colour_of_quarters(crops)).numpy().astype(np.float64)
        if mean == "probabilities":
            logits = np.exp(logits)
            logits /= logits.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(scores, logits.mean(axis=0), atol=1e-5)


def test_probe_learns_and_leaves_the_backbone_alone():
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential(
        [
            keras.Input([8, 8, 3]),
            keras.layers.Conv2D(8, 3),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    before = [weight.numpy().copy() for weight in backbone.weights]

    def layers(images):
        return {"features": backbone(images, training=False)}

    test = ImageTest(
        layers, coloured_source(30, seed=1), image_size=8, batch_size=30
    )
    result = probed(
        layers, test, coloured_source(60), linear_epochs=6, linear_batch_size=10
    )["features"]

    assert result.top1 > 0.9
    assert result.best_epoch_top1 >= result.top1
    for weight, old in zip(backbone.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)


def test_test_labels_touch_neither_weights_nor_answers():
    source = coloured_source(9, seed=1)
    rows = colour_of_quarters(
        tf.cast(source.stored()[:, 1:-1, 1:-1], tf.float32) / 255
    ).numpy()
    one, two = (
        probed(test=FeatureTest("features", rows, labels), **SGD)["features"]
        for labels in (source.labels, source.labels[::-1])
    )
    np.testing.assert_array_equal(one.predictions, two.predictions)
    for first, second in zip(one.weights, two.weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_last_epoch_counts_and_the_best_is_named_beside_it():
    classes, labels = np.arange(6), np.array([0, 1, 2, 3])
    wrong = -np.eye(6)[labels]  # the label comes last of six
    head = keras.Sequential([keras.layers.Flatten()])

    result = _result([0.5, 1.0, 0.0], wrong, classes, labels, head, True)

    assert (result.top1, result.best_epoch_top1) == (0.0, 1.0)
    assert result.best_epoch == 2 and result.top5 == 0.0
    untested = _result([0.0], wrong, classes, labels, head, False)
    assert untested.best_epoch_top1 is None and untested.best_epoch is None


class CountingTest:
    """Scores of a test, of which it knows how many are in use."""

    labels = np.arange(3)

    def __init__(self):
        self.alive, self.most, self.calls = weakref.WeakSet(), 0, 0

    def scores(self, heads):
        found = {}
        for name in heads:
            found[name] = np.roll(np.eye(3), self.calls % 2, axis=0).view(Kept)
            self.alive.add(found[name])
        self.calls += 1
        self.most = max(self.most, len(self.alive))
        return found


class Kept(np.ndarray):
    """An array that can be counted."""

    __hash__ = object.__hash__


def test_scores_of_one_epoch_alone_are_kept_and_each_epoch_has_its_share():
    def both(images):
        rows = colour_of_quarters(images)
        return {"one": rows, "two": 2 * rows}

    test = CountingTest()
    found = probed(both, test, linear_epochs=5)
    assert (test.calls, test.most) == (5, 2)
    for result in found.values():
        # Right in the epochs 1, 3 and 5, wrong in the others.
        assert (result.top1, result.best_epoch) == (1.0, 1)


@pytest.mark.slow
def test_jitter_changes_what_is_learnt():
    plain = probed(**SGD)["features"].weights[0]
    jittered = probed(**SGD, linear_jitter=0.4)["features"].weights[0]
    assert np.abs(plain - jittered).max() > 1e-3


def test_probe_that_diverges_has_no_figure():
    with pytest.raises(ValueError, match="3 of 3 test images. Lower the lear"):
        probed(linear_rate=1e30, linear_epochs=9)


def test_one_class_is_refused():
    train = data.ArraySource(np.zeros([4, 8, 8], np.uint8), np.zeros(4, int))
    with pytest.raises(ValueError, match="at least two classes"):
        probed(train=train)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"linear_schedule": "milestones"}, "linear_milestones=none"),
        ({"linear_milestones": (60,)}, "linear_schedule=cosine"),
        ({**MILESTONES, "linear_milestones": (2, 1)}, "must rise.*2,1"),
        ({"linear_test_crops": 5}, "one of 1, 10"),
    ],
)
def test_impossible_settings_are_named(knobs, words):
    with pytest.raises(ValueError, match=words):
        ProbeConfig(**knobs)
