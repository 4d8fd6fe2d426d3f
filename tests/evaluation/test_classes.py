"""Test labels mean what training labels mean, and are known to it."""

import numpy as np
import pytest

from tfclust import data
from tfclust.evaluation import EvaluationConfig, classes, evaluate


def source(labels, names=None, seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, [len(labels), 8, 8, 3], np.uint8)
    return data.ArraySource(images, np.asarray(labels), class_names=names)


def test_classes_are_matched_by_name_where_a_folder_is_missing():
    train = source([0, 1, 2, 2], ("ant", "bee", "cat"))
    test = source([0, 1, 1], ("bee", "cat"), seed=1)

    alike = classes.with_classes_of(train, test)

    assert alike.labels.tolist() == [1, 2, 2]
    assert alike.class_names == train.class_names
    assert test.labels.tolist() == [0, 1, 1]  # the caller's is as it was
    np.testing.assert_array_equal(alike.stored(), test.stored())


@pytest.mark.parametrize("names", [None, ("a", "b", "c")])
def test_images_without_a_label_are_no_class_and_count_for_nothing(names):
    def first_pixel(images):
        return images[:, 0, 0]

    train, test = np.arange(40) % 3, np.arange(9) % 3
    train[::4], test[::3] = -1, -1
    whole, whole_test = source(train, names), source(test, names, seed=1)
    some = [
        data.Sample(of, np.flatnonzero(of.labels >= 0))
        for of in (whole, whole_test)
    ]
    config = EvaluationConfig(protocols=("knn", "linear", "clusters"))
    found, expected = (
        evaluate({"trained": first_pixel}, *pair, config, image_size=8)
        for pair in ((whole, whole_test), some)
    )
    assert found == expected
    none = source([-1] * 5, seed=2)
    with pytest.raises(ValueError, match="label -1.* for all 5 images"):
        evaluate({"trained": never_called}, whole, none, config, image_size=8)


def test_classes_matched_by_name_leave_images_without_a_label_so():
    train = source([0, 1, 2, -1], ("ant", "bee", "cat"))
    test = source([0, -1, 1], ("bee", "cat"), seed=1)
    alike = classes.with_classes_of(train, test)
    assert alike.labels.tolist() == [1, -1, 2]


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (([0, 1], ("a", "b")), ([0, 1], ("b", "c")), "Received: c in test_"),
        # A name without images teaches nothing.
        (([0, 0, 2], ("a", "b", "c")), ([1], ("a", "b", "c")), "b in test_"),
        (([3, 7], None), ([7, 8, 9], None), "8, 9 in test_data"),
        (([0, 1], None), ([5], ("a",) * 6), "5 in test_data"),
    ],
)
def test_class_that_training_lacks_is_refused_by_name(train, test, words):
    with pytest.raises(ValueError, match=words):
        classes.with_classes_of(source(*train), source(*test, seed=1))


@pytest.mark.parametrize("names", [None, ("ant", "bee", "cat")])
def test_test_images_of_classes_without_another_image_are_left_out(names):
    train = source([0, 0, 2, 2, 2], names)
    test = source([0, 1, -1, 2], names, seed=1)
    kept, left_out = classes.known_only(train, test)
    assert kept.labels.tolist() == [0, -1, 2]
    assert left_out == [names[1] if names else "1"]
    assert classes.known_only(train, kept) == (kept, [])
    with pytest.raises(ValueError, match="the only one of its class"):
        classes.known_only(train, source([1], names, seed=2))


def test_images_with_one_class_that_training_lacks_are_left_out():
    train, test = source([0, 0]), source([0, 0, 0], seed=1)
    names = train.class_names = test.class_names = ("ant", "bee", "cat")
    train.labels = test.labels = None
    train.label_sets = np.array([[1, 0, 0], [1, 0, 1]], np.int8)
    test.label_sets = np.array([[1, 1, 0], [1, -1, 0], [0, 0, 1]], np.int8)
    kept, left_out = classes.known_only(train, test)
    np.testing.assert_array_equal(kept.label_sets, test.label_sets[1:])
    assert left_out == [names[1]]


def never_called(images):
    raise AssertionError("a forward pass before the checks")


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        ([1] * 30, [1, 1], "at least two classes.*label 1"),
        ([0, 1] * 15, [0, 2], "each class of test_data"),
    ],
)
def test_command_refuses_them_before_any_pass(train, test, words):
    with pytest.raises(ValueError, match=words):
        evaluate(
            {"trained": never_called},
            source(train),
            source(test, seed=1),
            EvaluationConfig(protocols=("knn",)),
            image_size=8,
        )
