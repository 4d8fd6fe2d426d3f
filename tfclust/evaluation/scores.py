"""From scores of classes to figures: top-1, top-5, mean average precision."""

import numpy as np
from sklearn.metrics import precision_recall_curve

from tfclust.evaluation.intervals import of_figures, of_shares
from tfclust.evaluation.rows import num_bad
from tfclust.evaluation.targets import UNKNOWN
from tfclust.ops.average_precision import area_below, eleven_points


def figures(scores, targets, *, resamples=0, seed=0):
    """Figures of the test images.

    Args:
      scores: `[Q, C]`, larger for what an image is taken to have.
      targets: `Targets`; images without a label count for nothing.
      resamples: int, draws for intervals of mAP. seed: int.

    Returns:
      dict. One label an image: `top1`, and `top5` if there are more than five
      classes. Several: `map_area` and `map_11` (`mean_average_precision`), with
      intervals if there are draws.

    Raises:
      ValueError: if a score is not finite.
    """
    scores = np.asarray(scores)
    check_finite(scores)
    if targets.are_sets:
        return {
            **mean_average_precision(scores, targets.test),
            **map_intervals(scores, targets.test, resamples, seed),
        }
    rows = targets.test >= 0
    return top_shares(scores[rows], targets.test[rows])


def check_finite(scores):
    """Refuses scores `[Q, C]` of which NaN would make an answer."""
    bad = num_bad(scores)
    if bad:
        raise ValueError(
            f"scores must be finite. Received: NaN or infinity for {bad} of "
            f"{len(scores)} test images. Lower the learning rates."
        )


def top_shares(scores, classes):
    """`top1`, and `top5` if there are more than five classes; with intervals.

    Args:
      scores: `[Q, C]`. classes: int `[Q]`, positions in C.
    """
    found: dict = {"top1": float(np.mean(scores.argmax(axis=1) == classes))}
    top5 = top5_share(scores, np.arange(scores.shape[1]), classes)
    if top5 is not None:
        found["top5"] = top5
    return found | of_shares(found, found, len(classes))


def top5_share(scores, classes, labels):
    """Share of images whose label is among the five best; of equal, the first.

    Args:
      scores: `[Q, C]`. classes: `[C]`, what the columns are. labels: `[Q]`.

    Returns:
      float, or None for five classes or fewer.
    """
    if len(classes) <= 5:
        return None
    five = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    return float(np.mean((classes[five] == labels[:, None]).any(axis=1)))


def mean_average_precision(scores, sets):
    """Mean over classes of VOC's average precision of a ranking of images.

    Args:
      scores: `[Q, C]`.
      sets: int `[Q, C]`: 1, 0, or -1 for an image left out of the class's
        ranking.

    Returns:
      dict: `map_area`, by the area below the monotone curve (VOC from 2010 on);
      `map_11`, by eleven points (VOC07); `num_classes_judged`, those that some
      test image has: others have no recall.
    """
    areas, points = [], []
    for column, has in zip(scores.T, sets.T, strict=True):
        asked = has != UNKNOWN
        if not (has == 1).any():
            continue
        curve = _curve(column[asked], has[asked])
        areas.append(area_below(*curve))
        points.append(eleven_points(*curve))
    return {
        "map_area": float(np.mean(areas)),
        "map_11": float(np.mean(points)),
        "num_classes_judged": len(areas),
    }


def map_intervals(scores, sets, resamples, seed):
    """Intervals of both kinds of mAP; a draw judges the classes it has.

    They are for other sets of as many images. On few images the area itself is
    too large, whatever the interval: 0.47 on average for 300 images of four
    classes, of which the rarest has 15, and 0.44 for 200,000.
    """

    def of_draw(rows):
        if not (sets[rows] == 1).any():
            return {"map_area": np.nan, "map_11": np.nan}
        found = mean_average_precision(scores[rows], sets[rows])
        return {name: found[name] for name in ("map_area", "map_11")}

    return of_figures(
        of_draw, len(sets), resamples=resamples, seed=seed, moved=True
    )


def _curve(scores, has):
    """Recall, rising, and precision; images of equal scores come together."""
    precision, recall, _ = precision_recall_curve(has, scores)
    # scikit-learn's last point, recall 0, is not one of the ranking.
    return recall[-2::-1], precision[-2::-1]
