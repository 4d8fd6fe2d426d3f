"""Mean average precision: PASCAL VOC's two, and COCO's by pycocotools.

VOC (the development kit's `VOCevaldet`): detections by falling score; each goes
to the box of its class that it overlaps most; by 0.5 or more it counts as right
if the box is still free, as nothing if the box is ignored (difficult), else as
wrong. Precision is averaged by the rules of `tfclust.ops.average_precision`.
"""

import contextlib
import io
from typing import NamedTuple

import numpy as np

from tfclust.ops.average_precision import area_below, eleven_points

OVERLAP = 0.5


class Detections(NamedTuple):
    """What was found in one image."""

    boxes: np.ndarray  # float [n, 4]
    labels: np.ndarray  # int [n]
    scores: np.ndarray  # float [n]


def require_pycocotools():
    """Refuses to measure without pycocotools, with the extra's name."""
    try:
        import pycocotools.cocoeval  # noqa: F401
    except ImportError as error:
        raise ValueError(
            "measuring needs pycocotools: pip install "
            f'"tfclust[detection]". Received: {error}.'
        ) from error


def voc(data, found):
    """Average precision by class.

    Args:
      data: `Annotated`. found: list of `Detections`, one an image.

    Returns:
      `{"voc07": {class: ap}, "voc12": {class: ap}}`; classes without a box
      that counts are left out.
    """
    by_name: dict = {"voc07": {}, "voc12": {}}
    for label, name in enumerate(data.class_names):
        recall, precision = _curve(data, found, label)
        if recall is not None:
            by_name["voc07"][name] = eleven_points(recall, precision)
            by_name["voc12"][name] = area_below(recall, precision)
    return by_name


def overlaps(box, boxes):
    """Intersection over union of a box `[4]` with boxes `[n, 4]`."""
    left_top = np.maximum(box[:2], boxes[:, :2])
    right_bottom = np.minimum(box[2:], boxes[:, 2:])
    both = np.prod(np.clip(right_bottom - left_top, 0, None), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return both / (np.prod(box[2:] - box[:2]) + areas - both)


def coco(data, found):
    """COCO's figures by pycocotools.

    Ignored boxes are its crowds.

    Args:
      data: `Annotated`. found: list of `Detections`, one an image.

    Returns:
      dict of `map`, `map50`, `map75`, `map_small`, `map_medium`, `map_large`
      in [0, 1]; None where there are no such boxes.
    """
    require_pycocotools()
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO()
    truth.dataset = _as_coco(data)
    rows = _as_results(found)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        truth.createIndex()
        results = truth.loadRes(rows) if rows else COCO()
        if not rows:
            results.dataset = {**truth.dataset, "annotations": []}
            results.createIndex()
        evaluation = COCOeval(truth, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    names = ("map", "map50", "map75", "map_small", "map_medium", "map_large")
    values = evaluation.stats[: len(names)]
    return {
        name: None if value < 0 else float(value)
        for name, value in zip(names, values, strict=True)
    }


def _curve(data, found, label):
    """Recall and precision after each detection of a class; or None, None."""
    free, num_boxes = [], 0
    for labels, ignored in zip(data.labels, data.ignored, strict=True):
        here = labels == label
        free.append(np.ones(int(here.sum()), bool))
        num_boxes += int((here & ~ignored).sum())
    if not num_boxes:
        return None, None
    ranked = [
        (-float(score), image, row)
        for image, one in enumerate(found)
        for row, score in enumerate(one.scores)
        if one.labels[row] == label
    ]
    ranked.sort(key=lambda entry: entry[0])  # ties stay in order
    right = []
    for _, image, row in ranked:
        here = data.labels[image] == label
        verdict = _verdict(
            found[image].boxes[row],
            data.boxes[image][here],
            data.ignored[image][here],
            free[image],
        )
        if verdict is not None:
            right.append(verdict)
    total = np.cumsum(right, dtype=np.float64)
    return total / num_boxes, total / np.arange(1, len(right) + 1)


def _verdict(box, boxes, ignored, free):
    """Whether a detection is right; None if it does not count."""
    if not len(boxes):
        return False
    shares = overlaps(box, boxes)
    best = int(shares.argmax())
    if shares[best] < OVERLAP:
        return False
    if ignored[best]:
        return None
    was_free, free[best] = bool(free[best]), False
    return was_free


def _as_coco(data):
    annotations: list = []
    for image, boxes in enumerate(data.boxes):
        for row, (left, top, right, bottom) in enumerate(boxes.tolist()):
            width, height = right - left, bottom - top
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(data.labels[image][row]),
                    "bbox": [left, top, width, height],
                    "area": float(data.areas[image][row]),
                    "iscrowd": int(data.ignored[image][row]),
                }
            )
    return {
        "info": {},
        "images": [{"id": i} for i in range(len(data.names))],
        "annotations": annotations,
        "categories": [
            {"id": i, "name": name} for i, name in enumerate(data.class_names)
        ],
    }


def _as_results(found):
    return [
        {
            "image_id": image,
            "category_id": int(label),
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "score": float(score),
        }
        for image, one in enumerate(found)
        for box, label, score in zip(
            one.boxes.tolist(), one.labels, one.scores, strict=True
        )
    ]
