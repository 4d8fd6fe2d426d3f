"""The classes of two sources: numbered alike, and known to the training one."""

import copy

import numpy as np

from tfclust.runtime.terminal import one_line

_SHOWN = 5  # classes in an error


def labelled(argument, source):
    """`source` without the images whose label is -1: they have none.

    Raises:
      ValueError: if no image has one.
    """
    if source is None or source.labels is None:
        return source
    rows = np.flatnonzero(source.labels >= 0)
    if not len(rows):
        raise ValueError(
            f"{argument} must have labelled images. Received: label -1, which "
            f"stands for none, for all {source.num_images} images of "
            f"{source.uri}. Give images with labels."
        )
    if len(rows) == source.num_images:
        return source
    from tfclust import data  # imports TensorFlow

    return data.Sample(source, rows)


def with_classes_of(train, test):
    """`test` with labels that mean what those of `train` mean.

    Class folders are numbered by their names; where the test images lack one
    of them, the numbers behind it are others.

    Args:
      train: `data.Source`, or None.
      test: `data.Source`.

    Returns:
      `test`, or a copy of it with other labels and names.

    Raises:
      ValueError: if the test images have a class that `train` lacks.
    """
    if train is None or train.labels is None or test.labels is None:
        return test
    names = train.class_names, test.class_names
    found = np.unique(train.labels)
    if None in names:
        others = np.setdiff1d(test.labels, found)
        if len(others):
            raise _unknown(train, test, others, found)
        return test
    place = {name: label for label, name in enumerate(train.class_names)}
    asked = np.unique(test.labels)
    used = [test.class_names[label] for label in asked[asked >= 0]]
    known = {train.class_names[label] for label in found[found >= 0]}
    unknown = [name for name in used if name not in known]
    if unknown:
        raise _unknown(train, test, unknown, sorted(known))
    if train.class_names == test.class_names:
        return test
    # A class without test images may have no place, and needs none.
    numbers = np.array([place.get(name, -1) for name in test.class_names])
    alike = copy.copy(test)
    alike.labels = np.where(test.labels < 0, -1, numbers[test.labels])
    alike.class_names = train.class_names
    return alike


def known_only(train, test):
    """`test` without images of classes that no image of `train` has.

    For two parts of one source: a class of a single image has no second part.

    Args:
      train, test: `data.Source` with labels, numbered alike.

    Returns:
      `test` or a sample of it, and the names of the classes left out.

    Raises:
      ValueError: if no test image would be left.
    """
    if test.label_sets is not None:
        strange = (test.label_sets == 1).any(axis=0)
        strange &= ~(train.label_sets == 1).any(axis=0)
        kept = ~(test.label_sets[:, strange] == 1).any(axis=1)
        unknown = np.flatnonzero(strange)
    elif test.labels is not None:
        kept = (test.labels < 0) | np.isin(test.labels, train.labels)
        unknown = np.unique(test.labels[~kept])
    else:
        return test, []
    if kept.all():
        return test, []
    names = test.class_names
    left_out = [one_line(str(names[c] if names else c)) for c in unknown]
    if not kept.any():
        raise ValueError(
            "no images are left to test on: each one held out is the only one "
            f"of its class. Received: {train.uri} with the classes "
            f"{_shown(left_out)}. Give more images of each class, or "
            "others by --test_data."
        )
    from tfclust import data  # imports TensorFlow

    return data.Sample(test, np.flatnonzero(kept)), left_out


def check_two_classes(train):
    """Refuses training images of one class, which teach no difference."""
    found = np.unique(train.labels)
    if len(found) < 2:
        raise ValueError(
            "train_data must hold at least two classes. Received: "
            f"train_data={train.uri}, {train.num_images} images with label "
            f"{found[0]}. Give images of more classes, or ask only for "
            "protocols=clusters."
        )


def _unknown(train, test, unknown, known):
    return ValueError(
        "each class of test_data must have images in train_data, or they are "
        f"wrong whatever is learnt. Received: {_shown(unknown)} in "
        f"test_data={test.uri}; train_data={train.uri} has {_shown(known)}. "
        "Leave those images out, or add the classes to train_data."
    )


def _shown(classes):
    shown = ", ".join(one_line(str(of)) for of in list(classes)[:_SHOWN])
    more = len(classes) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
