"""Average precision of a ranking, by PASCAL VOC's two rules.

VOC07 averages the best precision at recalls 0, 0.1, ..., 1; from 2010 on it is
the area below the curve made monotone.
"""

import numpy as np


def eleven_points(recall, precision):
    """Mean over recalls 0, 0.1, ... of the best precision from there on.

    Args:
      recall: `[n]`, rising. precision: `[n]`, after each of n found.
    """
    best = []
    for at in np.linspace(0, 1, 11):
        beyond = precision[recall >= at - 1e-12]
        best.append(beyond.max(initial=0.0))
    return float(np.mean(best))


def area_below(recall, precision):
    """Area below the curve, with the best precision at any larger recall.

    Args: those of `eleven_points`.
    """
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[0.0], precision, [0.0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * precision[1:]))
