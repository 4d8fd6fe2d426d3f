"""Average precision against plain loops, and COCO's by known cases."""

import numpy as np
import pytest

from export.detection import annotated, mean_ap
from export.detection.annotated import Annotated
from export.detection.mean_ap import Detections
from tests.support import detectors


def areas_of(boxes):
    return [np.prod(one[:, 2:] - one[:, :2], axis=1) for one in boxes]


def scene(seed, num_images=6, num_classes=3):
    """Random boxes, some ignored, and detections near some of them."""
    rng = np.random.default_rng(seed)
    boxes, labels, ignored, found = [], [], [], []
    for _ in range(num_images):
        count = int(rng.integers(0, 6))
        start = rng.uniform(0, 60, (count, 2))
        box = np.concatenate([start, start + rng.uniform(8, 40, (count, 2))], 1)
        boxes.append(box.astype(np.float32))
        labels.append(rng.integers(0, num_classes, count))
        ignored.append(rng.random(count) < 0.2)
        near = box[rng.integers(0, count, 2 * count)] if count else box
        near = near + rng.normal(0, 3, near.shape)
        stray = rng.uniform(0, 60, (3, 2))
        near = np.concatenate([near, np.concatenate([stray, stray + 20], 1)])
        found.append(
            Detections(
                near,
                rng.integers(0, num_classes, len(near)),
                rng.random(len(near)).round(1 if seed % 2 else 3),  # ties
            )
        )
    sizes = np.full([num_images, 2], 128)
    data = Annotated(
        "voc:x", [f"{i}" for i in range(num_images)], sizes,
        np.zeros(num_images, bool), np.ones(num_images, np.int32),
        boxes, labels, ignored, areas_of(boxes), tuple("abc"[:num_classes]),
        [], None,
    )  # fmt: skip
    return data, found


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (
        (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    )


def points(data, found, label):
    """(recall, precision) after each detection that counts, by plain loops."""
    ranked = []
    for image, one in enumerate(found):
        for row in range(len(one.scores)):
            if one.labels[row] == label:
                ranked.append((one.scores[row], image, one.boxes[row]))
    ranked.sort(key=lambda entry: -entry[0])
    wanted = sum(
        1
        for image in range(len(found))
        for row in range(len(data.labels[image]))
        if data.labels[image][row] == label and not data.ignored[image][row]
    )
    taken, right, wrong, curve = set(), 0, 0, []
    for _, image, box in ranked:
        best, place = -1.0, None
        for row in range(len(data.labels[image])):
            if data.labels[image][row] == label:
                share = overlap(box, data.boxes[image][row].astype(float))
                if share > best:
                    best, place = share, row
        if place is not None and best >= 0.5:
            if data.ignored[image][place]:
                continue
            if (image, place) not in taken:
                taken.add((image, place))
                right += 1
            else:
                wrong += 1
        else:
            wrong += 1
        curve.append((right / wanted if wanted else 0, right / (right + wrong)))
    return curve, wanted


def voc07(curve):
    total = 0.0
    for tenth in range(11):
        beyond = [p for r, p in curve if r >= tenth / 10 - 1e-12]
        total += max(beyond, default=0.0) / 11
    return total


def voc12(curve):
    """Each step in recall has the best precision at it or beyond."""
    total, before = 0.0, 0.0
    for place, (recall, _) in enumerate(curve):
        if recall > before:
            best = max(p for _, p in curve[place:])
            total += (recall - before) * best
            before = recall
    return total


@pytest.mark.parametrize("seed", range(30))
def test_both_average_precisions_equal_plain_loops(seed):
    data, found = scene(seed)
    figures = mean_ap.voc(data, found)
    for label, name in enumerate(data.class_names):
        curve, wanted = points(data, found, label)
        if not wanted:
            assert name not in figures["voc07"]
            continue
        assert figures["voc07"][name] == pytest.approx(voc07(curve), abs=1e-9)
        assert figures["voc12"][name] == pytest.approx(voc12(curve), abs=1e-9)


def exactly(data):
    return [
        Detections(box, label, np.ones(len(box)))
        for box, label in zip(data.boxes, data.labels, strict=True)
    ]


def test_exact_boxes_have_all_figures_one():
    data, _ = scene(2)
    figures = mean_ap.coco(data, exactly(data))
    assert figures["map"] == figures["map50"] == figures["map75"] == 1
    by_class = mean_ap.voc(data, exactly(data))
    for kind in ("voc07", "voc12"):
        values = list(by_class[kind].values())
        np.testing.assert_allclose(values, 1, atol=1e-12)


def test_no_detections_have_all_figures_zero():
    data, _ = scene(2)
    nothing = Detections(np.zeros([0, 4]), np.zeros(0, int), np.zeros(0))
    found = [nothing] * len(data.names)
    assert mean_ap.coco(data, found)["map"] == 0
    assert set(mean_ap.voc(data, found)["voc12"].values()) == {0.0}


def test_boxes_moved_to_an_overlap_of_0_6_count_at_50_and_not_at_75():
    data, _ = scene(4)
    found = []
    for one in exactly(data):
        width = one.boxes[:, 2:3] - one.boxes[:, :1]
        shift = width * np.float32([[0.25, 0, 0.25, 0]])  # 0.75 / 1.25 = 0.6
        found.append(one._replace(boxes=one.boxes + shift))
    clear = data._replace(
        boxes=[b[:1] for b in data.boxes],
        labels=[b[:1] for b in data.labels],
        ignored=[b[:1] & False for b in data.ignored],
    )
    first = [Detections(f.boxes[:1], f.labels[:1], f.scores[:1]) for f in found]
    figures = mean_ap.coco(clear, first)
    assert figures["map50"] == pytest.approx(1) and figures["map75"] == 0
    # 0.5, 0.55 and (within rounding) 0.6 of ten thresholds.
    assert figures["map"] == pytest.approx(0.25, abs=0.06)


def test_ignored_boxes_are_neither_rewarded_nor_punished():
    box = np.float32([[10, 10, 50, 50], [60, 60, 90, 90]])
    data = Annotated(
        "voc:x", ["0"], np.array([[128, 128]]), np.zeros(1, bool),
        np.ones(1, np.int32), [box], [np.array([0, 0])],
        [np.array([True, False])], areas_of([box]), ("a",), [], None,
    )  # fmt: skip
    # The detection of the ignored box has the higher score.
    found = [Detections(box, np.array([0, 0]), np.array([0.9, 0.8]))]
    assert mean_ap.voc(data, found)["voc12"] == {"a": 1.0}
    assert mean_ap.coco(data, found)["map50"] == pytest.approx(1)


def test_figures_by_size_are_those_of_the_objects_areas(tmp_path):
    """Against COCO's own code on the same file.

    A thin object is small, however large its box is.
    """
    pycocotools = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    rows = []
    for image in (1, 2):
        for _ in range(8):
            left, top = rng.integers(0, 60, 2).tolist()
            sides = rng.integers(20, 230, 2).tolist()
            share = rng.uniform(0.05, 1)
            rows.append({
                "image_id": image, "category_id": int(rng.integers(1, 3)),
                "bbox": [left, top, *sides],
                "area": float(share * sides[0] * sides[1]),
            })  # fmt: skip
    images = {f"{i}.png": np.zeros([300, 300, 3], np.uint8) for i in range(2)}
    path = detectors.write_coco(tmp_path / "all.json", images, rows)
    data = annotated.open_annotated(f"coco:{path}", max_bad_share=0)
    found = [
        Detections(
            boxes + rng.normal(0, 4, boxes.shape),
            labels,
            rng.random(len(boxes)),
        )
        for boxes, labels in zip(data.boxes, data.labels, strict=True)
    ]
    truth = pycocotools.COCO(str(path))
    results = [
        {"image_id": image + 1, "category_id": int(label) + 1,
         "bbox": [*box[:2], *(box[2:] - box[:2])], "score": score}
        for image, one in enumerate(found)
        for box, label, score in zip(*one, strict=True)
    ]  # fmt: skip
    own = COCOeval(truth, truth.loadRes(results), "bbox")
    own.evaluate()
    own.accumulate()
    own.summarize()
    figures = mean_ap.coco(data, found)
    names = ("map", "map50", "map75", "map_small", "map_medium", "map_large")
    assert min(own.stats[3:6]) >= 0  # there are objects of each size
    np.testing.assert_allclose(
        [figures[name] for name in names], own.stats[:6], atol=1e-9
    )
