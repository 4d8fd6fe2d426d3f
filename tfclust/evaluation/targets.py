"""What is to be told of the images: one class each, or several."""

from typing import NamedTuple

import numpy as np

from tfclust.evaluation.classes import with_classes_of
from tfclust.evaluation.rows import chance_of

UNKNOWN = -1  # in label sets: not asked, VOC's difficult
_SHOWN = 5


class Targets(NamedTuple):
    """Labels of a training and a test source, numbered alike.

    Attributes:
      train: int64 `[N]` positions in `classes`, -1 for an image without a
        label; or int8 `[N, C]` with 1 for what an image has, 0 for what it has
        not and -1 where it is not asked.
      test: the same of `[Q]` images.
      classes: C names of the classes that training images have; where an image
        may have several, those that some have and others have not.
      are_sets: whether an image may have several.
      left_out: names of the classes that every training image has, which
        nothing can be learnt about.
    """

    train: np.ndarray
    test: np.ndarray
    classes: tuple
    are_sets: bool
    left_out: tuple = ()


def of_sources(train, test):
    """The `Targets` of two sources.

    Raises:
      ValueError: if one has labels of another kind, training images have only
        one class, or test images have one that training images lack.
    """
    kinds = [source.label_sets is not None for source in (train, test)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            "train_data and test_data must both have one label an image, or "
            f"both several. Received: {train.uri} and {test.uri}. Give two "
            "splits of the same images."
        )
    found = _of_sets if kinds[0] else _of_labels
    return found(train, test)


def chance(targets):
    """`{figure: value}` of what says nothing, for tables.

    For top-1 and top-5: always naming the largest test class, or the five
    largest. For mAP: a random order, whose AP is about the share of images
    that have the class.
    """
    if targets.are_sets:
        shares = [
            np.mean(column[column != UNKNOWN] == 1)
            for column in targets.test.T
            if (column == 1).any()
        ]
        found: dict = {"chance": float(np.mean(shares))}
        if targets.left_out:
            found["classes_left_out"] = list(targets.left_out)
        return found
    return chance_of(targets.test[targets.test >= 0])


def _of_labels(train, test):
    test = with_classes_of(train, test)
    classes, known = np.unique(train.labels, return_inverse=True)
    if -1 in classes:  # images without a label
        classes, known = classes[1:], known - 1
    names = train.class_names
    in_words = tuple(str(names[c] if names else c) for c in classes)
    _check_classes(in_words, train)
    _check_some(test.labels >= 0, test)
    places = np.searchsorted(classes, test.labels)
    found = np.where(test.labels >= 0, places, -1)
    return Targets(known, found, in_words, False)


def _of_sets(train, test):
    some_have = (train.label_sets == 1).any(axis=0)
    kept = some_have & (train.label_sets == 0).any(axis=0)
    every = np.asarray(train.class_names, object)
    known = every[some_have].tolist()
    # Classes of two folders may have other numbers: they go by their names.
    of_test = dict(zip(test.class_names, test.label_sets.T, strict=True))
    strange = [n for n, has in of_test.items() if (has == 1).any()]
    _refuse_strange([n for n in strange if n not in known], train, test)
    names = tuple(every[kept])
    _check_classes(names, train)
    nobody = np.zeros(test.num_images, np.int8)
    columns = np.stack([of_test.get(n, nobody) for n in names], axis=1)
    _check_some(columns == 1, test)
    left_out = tuple(n for n in known if n not in names)
    return Targets(train.label_sets[:, kept], columns, names, True, left_out)


def _check_classes(names, train):
    fewest = 1 if train.label_sets is not None else 2
    if len(names) < fewest:
        raise ValueError(
            f"train_data must have at least {fewest} classes to learn from "
            "that some images have and others have not. Received: "
            f"{len(names)} in {train.uri}. Give images of more classes."
        )


def _check_some(has_label, test):
    if not has_label.any():
        raise ValueError(
            "test_data must have labelled images. Received: none among "
            f"{test.num_images} of {test.uri}. Give images with labels."
        )


def _refuse_strange(names, train, test):
    if names:
        shown = ", ".join(map(str, names[:_SHOWN]))
        raise ValueError(
            "test_data must have only classes that training has seen. "
            f"Received: {len(names)} that no image of {train.uri} has "
            f"({shown}) in {test.uri}. Give training images of each, or leave "
            "them out of test_data."
        )
