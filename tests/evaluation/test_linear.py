"""Logistic regression against scikit-learn."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from tfclust.evaluation import logistic_regression
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
    assert 0.9 < result.top1 < result.top5 <= 1


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
    assert (plain.top1, plain.top5) == (named.top1, named.top5)


def test_one_image_a_class_is_enough():
    rows = np.eye(4)
    result = logistic_regression(rows, np.arange(4), rows, np.arange(4))
    assert (result.top1, result.top5) == (1.0, None)


def test_one_class_is_refused():
    rows = np.ones([4, 2])
    with pytest.raises(ValueError, match="at least two classes"):
        logistic_regression(rows, np.full(4, 3), rows, np.full(4, 3))
