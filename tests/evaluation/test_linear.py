"""Linear probes against scikit-learn and a NumPy loop of SwAV's protocol."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from tfclust import data
from tfclust.evaluation import logistic_regression, sgd_probe
from tfclust.evaluation.probes import logistic


def digits_parts():
    """Pixels and labels of 600 training and 300 test digits."""
    digits = load_digits()
    rows = digits.data.astype(np.float32)
    return (
        rows[:600],
        digits.target[:600],
        rows[600:900],
        digits.target[600:900],
    )


@pytest.mark.parametrize("penalty", [1.0, 0.01, 1e-4])
def test_fit_is_scikit_learns(penalty):
    rows, targets, _, _ = digits_parts()
    rows = StandardScaler().fit_transform(rows).astype(np.float32)

    weights = logistic.fit(rows, targets, 10, penalty=penalty, tolerance=1e-5)

    model = LogisticRegression(
        C=1 / (penalty * len(rows)), tol=1e-7, max_iter=5000
    ).fit(rows, targets)
    # Both stop by their gradient, ours at 1e-5; a weak penalty leaves the
    # minimum flat, so probabilities are compared and not the weights alone.
    expected = model.predict_proba(rows)
    found = tf.nn.softmax(logistic.logits(weights, rows)).numpy()
    np.testing.assert_allclose(found, expected, atol=0.02)
    if penalty >= 0.01:
        np.testing.assert_allclose(weights.kernel, model.coef_.T, atol=0.002)
    value = log_loss(targets, found) + penalty / 2 * (weights.kernel**2).sum()
    best = log_loss(targets, expected) + penalty / 2 * (model.coef_**2).sum()
    assert value <= best + 1e-4


def test_fit_from_another_start_ends_at_the_same_minimum():
    rows, targets, _, _ = digits_parts()
    rows = StandardScaler().fit_transform(rows).astype(np.float32)
    start = logistic.Weights(np.ones([64, 10]), np.arange(10.0))

    one = logistic.fit(rows, targets, 10, penalty=0.1, tolerance=1e-5)
    two = logistic.fit(
        rows, targets, 10, penalty=0.1, tolerance=1e-5, start=start
    )

    np.testing.assert_allclose(one.kernel, two.kernel, atol=0.002)


def test_digits_are_read_from_their_pixels():
    result = logistic_regression(*digits_parts())
    assert result.top1 > 0.9


def test_penalty_is_chosen_without_test_labels():
    rows, labels, test_rows, test_labels = digits_parts()
    others = np.random.default_rng(0).permutation(test_labels)

    result = logistic_regression(rows, labels, test_rows, test_labels)
    blind = logistic_regression(rows, labels, test_rows, others)

    assert result.penalty == blind.penalty
    np.testing.assert_array_equal(result.predictions, blind.predictions)


def test_penalty_is_the_best_on_held_out_images_by_scikit_learn():
    rows, labels, test_rows, test_labels = digits_parts()

    result = logistic_regression(rows, labels, test_rows, test_labels, seed=2)

    held = logistic._held_out(labels, 10, seed=2)
    assert 110 < held.sum() <= 120  # a fifth of 600, class by class
    scaled = StandardScaler().fit_transform(rows)
    losses = []
    for penalty in logistic.PENALTIES[:6]:
        model = LogisticRegression(C=1 / (penalty * (~held).sum()))
        model.fit(scaled[~held], labels[~held])
        losses.append(log_loss(labels[held], model.predict_proba(scaled[held])))
    assert result.penalty == logistic.PENALTIES[np.argmin(losses)]


def test_noise_calls_for_a_strong_penalty_and_clear_features_for_a_weak_one():
    random = np.random.default_rng(0)
    labels = np.arange(200) % 4
    noise = random.normal(size=[200, 300])
    clear = 3 * np.eye(4)[labels] + 0.5 * random.normal(size=[200, 4])

    of_noise = logistic_regression(noise, labels, noise, labels)
    of_clear = logistic_regression(clear, labels, clear, labels)

    assert of_noise.penalty >= 1.0
    assert of_clear.penalty <= 0.1


def test_scale_of_a_column_does_not_matter():
    rows, labels, test_rows, test_labels = digits_parts()
    scale = 2.0 ** np.random.default_rng(0).integers(-12, 12, size=64)

    plain = logistic_regression(
        rows, labels, test_rows, test_labels, penalties=(0.1,)
    )
    scaled = logistic_regression(
        rows * scale,
        labels,
        test_rows * scale,
        test_labels,
        penalties=(0.1,),
    )

    # Powers of two standardise to the same float32 numbers.
    np.testing.assert_array_equal(plain.predictions, scaled.predictions)


def test_column_that_changes_only_in_the_test_set_is_left_out():
    rows, labels, test_rows, test_labels = digits_parts()
    constant = np.full([len(rows), 1], 0.1)
    wild = 1e6 * np.arange(len(test_rows))[:, None]

    plain = logistic_regression(
        rows, labels, test_rows, test_labels, penalties=(0.1,)
    )
    result = logistic_regression(
        np.hstack([rows, constant]),
        labels,
        np.hstack([test_rows, wild]),
        test_labels,
        penalties=(0.1,),
    )

    np.testing.assert_array_equal(plain.predictions, result.predictions)


def test_labels_need_not_be_consecutive():
    rows, labels, test_rows, test_labels = digits_parts()
    names = np.array([3, 10, 11, 200, 201, 500, 501, 7000, 7001, 9999])

    plain = logistic_regression(
        rows, labels, test_rows, test_labels, penalties=(0.1,)
    )
    named = logistic_regression(
        rows,
        names[labels],
        test_rows,
        names[test_labels],
        penalties=(0.1,),
    )

    np.testing.assert_array_equal(names[plain.predictions], named.predictions)
    assert plain.top1 == named.top1


def test_one_image_a_class_is_enough():
    rows = np.eye(4)
    result = logistic_regression(rows, np.arange(4), rows, np.arange(4))
    assert result.top1 == 1.0


def test_one_class_is_refused():
    rows = np.ones([4, 2])
    with pytest.raises(ValueError, match="at least two classes"):
        logistic_regression(rows, np.full(4, 3), rows, np.full(4, 3))


def colour_of_quarters(images):
    """A frozen backbone without variables: mean colours of four quarters."""
    pooled = tf.nn.avg_pool2d(images, 4, 4, "VALID")  # [B, 2, 2, 3]
    return tf.reshape(pooled, [-1, 12])


def coloured_source(num_images=50):
    """Noisy images of three colours."""
    random = np.random.default_rng(0)
    labels = np.arange(num_images) % 3
    images = random.integers(0, 120, size=[num_images, 8, 8, 3])
    images[np.arange(num_images), :, :, labels] += 100
    return data.ArraySource(images.astype(np.uint8), labels)


def sgd_loop(backbone, train, start, *, epochs, rate, decay, batch_size):
    """SwAV's linear protocol in float64; the crops alone are the library's."""
    views = data.Views(
        train,
        view_sizes=(8,),
        num_views=(1,),
        view_scales=((0.08, 1.0),),
        augmentation="none",
        flip_probability=0.5,
        batch_size=batch_size,
    )
    weights = np.vstack([start.kernel, start.bias]).astype(np.float64)
    momentum = np.zeros_like(weights)
    for epoch in range(epochs):
        lr = 0.5 * rate * (1 + np.cos(np.pi * epoch / epochs))
        for batch in views.batches(epoch):
            images = views.on_device(batch)[0][0]
            rows = backbone(images).numpy().astype(np.float64)
            rows = np.hstack([rows, np.ones([len(rows), 1])])  # [B, F + 1]
            scores = np.exp(rows @ weights)
            scores /= scores.sum(axis=1, keepdims=True)
            scores[np.arange(len(rows)), train.labels[batch["index"]]] -= 1
            gradient = rows.T @ scores / len(rows) + decay * weights
            momentum = 0.9 * momentum + gradient
            weights = weights - lr * momentum
    return weights


def test_sgd_probe_follows_swavs_protocol_step_by_step():
    train = coloured_source()
    features = colour_of_quarters(np.float32(np.ones([3, 8, 8, 3])))
    arguments = (colour_of_quarters, train, features.numpy(), np.arange(3))

    untouched = sgd_probe(*arguments, image_size=8, epochs=1, learning_rate=0.0)
    result = sgd_probe(
        *arguments,
        image_size=8,
        epochs=3,
        learning_rate=0.7,
        weight_decay=0.01,
        batch_size=16,
    )

    expected = sgd_loop(
        colour_of_quarters,
        train,
        untouched.weights,
        epochs=3,
        rate=0.7,
        decay=0.01,
        batch_size=16,
    )
    found = np.vstack([result.weights.kernel, result.weights.bias])
    # Nine float32 steps.
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # N(0, 0.01) to begin with: 36 values, so their deviation is within a half.
    assert 0.005 < untouched.weights.kernel.std() < 0.015
    assert not untouched.weights.bias.any()


def test_sgd_probe_learns_and_leaves_the_backbone_alone():
    train = coloured_source(60)
    test = coloured_source(30)
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
    pixels = test.stored()[:, 1:-1, 1:-1]

    result = sgd_probe(
        lambda images: backbone(images, training=False),
        train,
        backbone(tf.cast(pixels, tf.float32) / 255, training=False).numpy(),
        test.labels,
        image_size=8,
        epochs=6,
        batch_size=10,
    )

    assert result.top1 > 0.9
    assert result.best_epoch_top1 >= result.top1
    for weight, old in zip(backbone.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)


def test_sgd_probe_refuses_one_class():
    train = data.ArraySource(np.zeros([4, 8, 8], np.uint8), np.zeros(4, int))
    with pytest.raises(ValueError, match="at least two classes"):
        sgd_probe(
            colour_of_quarters,
            train,
            np.ones([2, 12]),
            np.zeros(2, int),
            image_size=8,
        )
