"""KerasHub's RetinaNet on our backbone, begun as published."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("keras_hub")

from export.detection import losses, network
from tests.support import detectors
from tests.support.exported import small_backbone
from tfclust import saved_model

SIDE, CLASSES = 64, 2


def knobs(**other):
    values = {
        "image_size": SIDE,
        "levels": (3, 4),
        "anchor_size": 3.0,
        "head_convolutions": 1,
        "seed": 0,
    }
    return types.SimpleNamespace(**{**values, **other})


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported")
    backbone = detectors.tiny_backbone(deepest=4)
    return detectors.write_graph(path / "1", backbone), backbone


@pytest.fixture(scope="module")
def detector(exported):
    graph = saved_model.load_graph(exported[0])
    return network.build(graph, CLASSES, knobs())


def test_graph_is_the_backbone_that_was_exported(exported):
    path, backbone = exported
    graph = saved_model.load_graph(path.parent)
    images = np.random.default_rng(0).random([2, SIDE, SIDE, 3], np.float32)
    np.testing.assert_allclose(
        graph.backbone(images), backbone(images), rtol=1e-5, atol=1e-6
    )
    assert list(graph.pyramid) == ["P2", "P3", "P4"]


def test_random_weights_are_others_and_differ_by_seed(exported):
    def drawn(seed):
        keras.utils.set_random_seed(seed)
        graph = saved_model.load_graph(exported[0], random_weights=True)
        return graph.backbone.get_weights()[0]

    trained = saved_model.load_graph(exported[0]).backbone.get_weights()[0]
    one, other = drawn(1), drawn(2)
    assert not np.allclose(one, other) and not np.allclose(one, trained)
    np.testing.assert_array_equal(one, drawn(1))


def test_frozen_stages_are_not_trained(exported):
    graph = saved_model.load_graph(exported[0], frozen_stages=2)
    names = {v.path.split("/")[0] for v in graph.backbone.trainable_variables}
    assert names == {f"stage{i}_{what}" for i in (2, 3)
                     for what in ("conv", "bn")}  # fmt: skip


def test_damaged_or_missing_graphs_are_told(exported, tmp_path):
    import shutil

    copy = tmp_path / "1"
    shutil.copytree(exported[0], copy)
    (copy / saved_model.BACKBONE_FILE).write_bytes(b"PK broken")
    with pytest.raises(ValueError, match="backbone.keras cannot be loaded"):
        saved_model.load_graph(copy)
    (copy / saved_model.BACKBONE_FILE).unlink()
    with pytest.raises(ValueError, match="must have assets.extra/backbone"):
        saved_model.load_graph(copy)


def test_heads_begin_with_small_kernels_and_a_prior_on_the_classes(detector):
    model = detector.model
    prior = model.classification_head.prediction_layer.bias.numpy()
    np.testing.assert_allclose(tf.sigmoid(prior), 0.01, rtol=1e-5)
    assert not model.box_head.prediction_layer.bias.numpy().any()
    for head in (model.classification_head, model.box_head):
        for layer in (*head.conv_layers, head.prediction_layer):
            assert layer.kernel.numpy().std() == pytest.approx(0.01, rel=0.05)


def test_backbones_without_a_level_are_refused_with_what_to_train(tmp_path):
    path = detectors.write_graph(tmp_path / "1", small_backbone())
    graph = saved_model.load_graph(path)
    with pytest.raises(ValueError) as told:
        network.build(graph, CLASSES, knobs(levels=(3, 7)))
    for words in ("P3, P4, P5", "has P2", "--backbone=resnet18", "96"):
        assert words in str(told.value)


def test_canvas_must_halve_evenly(exported):
    graph = saved_model.load_graph(exported[0])
    with pytest.raises(ValueError, match="multiple of 16.*Try 96"):
        network.build(graph, CLASSES, knobs(image_size=100))


def matched_by_a_loop(anchors, boxes, labels):
    """The oracle: class of each anchor, -1 background, -2 ignored."""
    from tests.export.detection.test_mean_ap import overlap

    classes, places = [], []
    for anchor in anchors:
        shares = [overlap(anchor, box) for box in boxes] or [0.0]
        best = int(np.argmax(shares))
        places.append(best)
        if shares[best] >= 0.5:
            classes.append(labels[best])
        else:
            classes.append(-2 if shares[best] >= 0.4 else -1)
    return np.array(classes), places


@pytest.mark.parametrize("seed", range(3))
def test_anchors_are_matched_as_by_a_loop_and_padding_to_none(detector, seed):
    rng = np.random.default_rng(seed)
    start = rng.uniform(2, 30, (3, 2))
    boxes = np.concatenate([start, start + rng.uniform(15, 30, (3, 2))], 1)
    labels = rng.integers(0, CLASSES, 3)
    padded = np.full([2, 5, 4], -1, np.float32)
    padded[0, :3] = boxes
    ids = np.full([2, 5], -1, np.float32)
    ids[0, :3] = labels
    images = np.zeros([2, SIDE, SIDE, 3], np.float32)
    found = detector.model.label_encoder(images, padded, ids)
    wanted, classes = map(np.asarray, found)
    expected, places = matched_by_a_loop(detector.anchors, boxes, labels)
    np.testing.assert_array_equal(classes[0], expected)
    assert (classes[1] == -1).all()  # an image without boxes is background
    assert (expected >= 0).any()
    for row in np.flatnonzero(expected >= 0):
        box = boxes[places[row]]
        left, top, right, bottom = detector.anchors[row]
        width, height = right - left, bottom - top
        delta = [
            ((box[0] + box[2]) - (left + right)) / 2 / width,
            ((box[1] + box[3]) - (top + bottom)) / 2 / height,
            np.log((box[2] - box[0]) / width),
            np.log((box[3] - box[1]) / height),
        ]
        np.testing.assert_allclose(wanted[0, row], delta, atol=1e-4)


def some_losses(detector, boxes, labels, repeat=1):
    loss = losses.Loss(detector.model.label_encoder, CLASSES)
    images = np.random.default_rng(0).random([1, SIDE, SIDE, 3], np.float32)
    with tf.GradientTape() as tape:
        predicted = detector.model(images, training=False)
        for _ in range(repeat):
            found = loss(images, boxes, labels, predicted)
        total = found.classes + found.boxes
    bias = detector.model.classification_head.prediction_layer.bias
    return found, tape.gradient(total, bias.value), loss, predicted


def test_first_loss_is_of_order_one_and_equals_the_formula(detector):
    boxes = np.float32([[[4, 4, 30, 30], [-1, -1, -1, -1]]])
    labels = np.float32([[1, -1]])
    found, _, loss, predicted = some_losses(detector, boxes, labels)
    assert 0 < float(found.classes) + float(found.boxes) < 5
    wanted, classes = loss._encoder(
        np.zeros([1, SIDE, SIDE, 3], np.float32), boxes, labels
    )
    logits = predicted["cls_logits"].numpy()[0]
    total, distance, positives = 0.0, 0.0, 0
    for row, kind in enumerate(np.asarray(classes)[0]):
        if kind == -2:
            continue
        for column, logit in enumerate(logits[row].astype(float)):
            p = 1 / (1 + np.exp(-logit))
            if kind == column:
                total += -0.25 * (1 - p) ** 2 * np.log(p)
            else:
                total += -0.75 * p**2 * np.log(1 - p)
        if kind >= 0:
            positives += 1
            for w, f in zip(
                np.asarray(wanted)[0, row],
                predicted["bbox_regression"].numpy()[0, row],
                strict=True,
            ):
                gap = abs(float(w) - float(f))
                distance += gap**2 / 0.2 if gap < 0.1 else gap - 0.05
    assert positives == int(found.positives) > 0
    np.testing.assert_allclose(found.classes, total / positives, rtol=1e-4)
    np.testing.assert_allclose(found.boxes, distance / positives, rtol=1e-3)


def test_background_teaches_in_a_batch_without_any_box(detector):
    none = np.full([1, 2, 4], -1, np.float32)
    found, slope, _, _ = some_losses(detector, none, none[..., 0])
    assert float(found.positives) == 0 and float(found.boxes) == 0
    # Descending lowers the score of every class.
    assert float(found.classes) > 0 and (slope.numpy() > 0).all()


def test_mean_of_positive_anchors_moves_by_a_tenth(detector):
    boxes, labels = np.float32([[[4, 4, 30, 30]]]), np.float32([[0]])
    found, _, loss, predicted = some_losses(detector, boxes, labels, repeat=2)
    count = float(found.positives)
    np.testing.assert_allclose(loss.mean_positives, count)
    images = np.zeros([1, SIDE, SIDE, 3], np.float32)
    loss(images, boxes * 0 - 1, labels * 0 - 1, predicted)
    np.testing.assert_allclose(loss.mean_positives, 0.9 * count, rtol=1e-6)


def test_saved_detector_loads_again_with_the_same_outputs(detector, tmp_path):
    path = tmp_path / "detector.keras"
    detector.model.save(path)
    again = keras.models.load_model(path, compile=False)
    images = np.random.default_rng(0).random([1, SIDE, SIDE, 3], np.float32)
    for name, wanted in detector.model(images, training=False).items():
        np.testing.assert_array_equal(again(images, training=False)[name],
                                      wanted)  # fmt: skip
    np.testing.assert_array_equal(
        network.anchors_of(again, SIDE), detector.anchors
    )
