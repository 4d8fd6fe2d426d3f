"""Linear SVMs on frozen features, one a class, by scikit-learn (LIBLINEAR).

Goyal et al. 2019 (arXiv:1905.01235), section 4 and appendix: rows of unit
length, squared hinge, positives with double weight, and the cost of each class
by cross-validation on training images. The same for images with one label: the
class with the largest score wins.
"""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.svm import LinearSVC

from tfclust.evaluation.targets import UNKNOWN

_EPSILON = 1e-5  # added to a row's length before it is divided by it


class Settings(NamedTuple):
    """How SVMs are fitted.

    Attributes:
      costs: floats C to choose from; with one, nothing is chosen.
      folds: int, of the cross-validation.
      seed: int, of LIBLINEAR's order of rows.
    """

    costs: tuple
    folds: int = 3
    seed: int = 0


class SVMs(NamedTuple):
    """Scores of test rows, and how they were found."""

    scores: np.ndarray  # float64 [Q, C], decision functions
    costs: tuple  # of each class
    num_not_converged: int  # classes whose last fit reached its limit


def unit_rows(features):
    """Rows divided by their length, plus 1e-5 as the source has it."""
    features = np.asarray(features, np.float64)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / (length + _EPSILON)


def fit(train_features, sets, test_features, settings):
    """One SVM a class.

    Args:
      train_features: `[N, F]` finite floats.
      sets: int `[N, C]`: 1, 0, or -1 for an image left out of that class.
      test_features: `[Q, F]` finite floats.
      settings: `Settings`.

    Returns:
      `SVMs`.

    Raises:
      ValueError: if a class is too small to choose a cost for it.

    Source:
      Goyal et al. 2019, arXiv:1905.01235; OpenSelfSup's and VISSL's settings.
    """
    rows, queries = unit_rows(train_features), unit_rows(test_features)
    scores = np.empty([len(queries), sets.shape[1]])
    costs, unfinished = [], 0
    for column, has in enumerate(sets.T):
        asked = has != UNKNOWN
        x, y = rows[asked], np.where(has[asked] == 1, 1, -1)
        cost = _best_cost(x, y, settings)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", ConvergenceWarning)
            model = _svm(cost, settings.seed).fit(x, y)
        unfinished += any(w.category is ConvergenceWarning for w in told)
        scores[:, column] = model.decision_function(queries)
        costs.append(cost)
    return SVMs(scores, tuple(costs), unfinished)


def check_sizes(sets, settings, classes):
    """Refuses classes that are too small to choose a cost for them.

    Args:
      sets: int `[N, C]`. settings: `Settings`. classes: C names.

    Raises:
      ValueError: naming the first such class.
    """
    for has, name in zip(sets.T, classes, strict=True):
        counts = int((has == 1).sum()), int((has == 0).sum())
        if len(settings.costs) > 1 and min(counts) < settings.folds:
            raise ValueError(
                f"svm_costs are compared by svm_folds={settings.folds} folds, "
                "each with and without the class. Received: "
                f"{counts[0]} training images with {name} and {counts[1]} "
                "without. Give one cost, --svm_costs=1, fewer folds or more "
                "images."
            )


def low_shot(sets, shots, seed):
    """Rows for SVMs on few images: `shots` that have each class.

    Args:
      sets: int `[N, C]`.
      shots: int, images of each class; all if there are fewer.
      seed: int >= 0, of the draw.

    Returns:
      int8 `[N, C]`, -1 for all images that a class does not see. It sees
      `shots` that have it and (C - 1) times as many that have not, drawn anew
      for each class.
    """
    drawn = np.full(sets.shape, UNKNOWN, np.int8)
    num_classes = sets.shape[1]
    for column, has in enumerate(sets.T):
        random = np.random.default_rng([seed, shots, column])
        for value, count in ((1, shots), (0, shots * (num_classes - 1))):
            rows = random.permutation(np.flatnonzero(has == value))[:count]
            drawn[rows, column] = value
    return drawn


def one_hot(classes, num_classes):
    """int8 `[N, C]` sets of classes `[N]`; all unknown where one is -1."""
    sets = np.eye(num_classes, dtype=np.int8)[np.maximum(classes, 0)]
    sets[np.asarray(classes) < 0] = UNKNOWN
    return sets


def _svm(cost, seed):
    return LinearSVC(
        C=cost,
        class_weight={1: 2, -1: 1},
        loss="squared_hinge",
        penalty="l2",
        dual=True,
        tol=1e-4,
        max_iter=2000,
        random_state=seed,
    )


def _best_cost(x, y, settings):
    """The cost with the largest mean average precision over the folds."""
    if len(settings.costs) == 1:
        return settings.costs[0]
    folds = StratifiedKFold(settings.folds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        means = [
            cross_val_score(
                _svm(cost, settings.seed),
                x,
                y,
                cv=folds,
                scoring="average_precision",
            ).mean()
            for cost in settings.costs
        ]
    return settings.costs[int(np.argmax(means))]
