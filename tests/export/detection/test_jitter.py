"""Boxes go where their pixels go."""

import types

import numpy as np
import pytest
import tensorflow as tf

from export.detection import annotated, batches, jitter
from tests.support import detectors

SIDE = 96


def knobs(**other):
    values = {"flip_probability": 0.5, "scale_jitter": (0.5, 2.0), "seed": 3}
    return types.SimpleNamespace(**{**values, **other})


def moved_by_a_loop(box, size, place):
    """The oracle: each corner by itself, in the order of what happens."""
    corners = []
    for x, y in ((box[0], box[1]), (box[2], box[3])):
        x, y = x * place.sides[1] / size[1], y * place.sides[0] / size[0]
        if place.flip:
            x = place.sides[1] - x
        x, y = x + place.begin[1], y + place.begin[0]
        corners.append((min(max(x, 0), SIDE), min(max(y, 0), SIDE)))
    xs, ys = zip(*corners, strict=True)
    return [min(xs), min(ys), max(xs), max(ys)]


@pytest.mark.parametrize("seed", range(20))
def test_boxes_move_as_a_loop_over_corners_moves_them(seed):
    rng = np.random.default_rng(seed)
    size = rng.integers(20, 200, 2)
    corners = np.sort(rng.uniform(0, 1, (5, 2, 2)), axis=1) * size[::-1]
    boxes = corners.reshape(5, 4)
    place = jitter.drawn(size, SIDE, knobs(), (seed,))
    moved, _ = jitter.placed_boxes(boxes, size, place, SIDE)
    expected = [moved_by_a_loop(box, size, place) for box in boxes]
    np.testing.assert_allclose(moved, expected, atol=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_boxes_enclose_the_pixels_they_enclosed(seed):
    rng = np.random.default_rng(seed)
    size = rng.integers(60, 150, 2)
    image = np.zeros([*size, 3], np.uint8)
    left, top = rng.integers(5, size[::-1] // 3)
    right, bottom = rng.integers(size[::-1] // 2, size[::-1] - 5)
    image[top:bottom, left:right] = 255
    place = jitter.drawn(size, SIDE, knobs(), (seed,))
    canvas = jitter.canvas(
        tf.constant(image), place.sides, place.begin, tf.constant(place.flip),
        SIDE,
    ).numpy()  # fmt: skip
    box = np.array([[left, top, right, bottom]], np.float64)
    moved, visible = jitter.placed_boxes(box, size, place, SIDE)
    lit = canvas[..., 0] > 191  # brighter than the grey around it
    if not visible[0]:
        pytest.skip("this one left the canvas")
    rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
    found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    # The blurred edge of a resized square is two pixels wide at most.
    np.testing.assert_allclose(moved[0], found, atol=2)


def test_hardly_visible_boxes_are_not_learnt():
    place = jitter.Placement(np.array([96, 96]), np.array([0, -80]), False)
    boxes = np.array([[0, 0, 90, 90], [70, 0, 96, 90.0]])
    moved, visible = jitter.placed_boxes(boxes, (96, 96), place, SIDE)
    assert visible.tolist() == [False, True]
    np.testing.assert_allclose(moved[1], [0, 0, 16, 90])


def test_whole_images_lie_at_the_top_left_without_chance():
    place = jitter.whole((200, 100), SIDE)
    assert place.sides.tolist() == [96, 48] and place.begin.tolist() == [0, 0]
    in_graph = jitter.sides_of(tf.constant([200, 100]), SIDE)
    np.testing.assert_array_equal(in_graph, place.sides)


@pytest.mark.parametrize("size", [(1, 4000), (333, 77), (480, 640), (5, 5)])
def test_server_and_training_agree_on_sides(size):
    in_graph = jitter.sides_of(tf.constant(size), 192)
    np.testing.assert_array_equal(in_graph, jitter.whole(size, 192).sides)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    detectors.write_voc(folder, detectors.squares(7))
    return annotated.open_annotated(f"voc:{folder}", max_bad_share=0)


def read(data, epoch, first=0):
    config = knobs(scale_jitter=(0.8, 1.2))
    found = batches.training(data, SIDE, 2, config, epoch, first)
    return [tuple(part.numpy() for part in batch) for batch in found]


def test_batches_are_a_function_of_seed_epoch_and_position(data):
    whole, rest = read(data, 4), read(data, 4, 2)
    assert len(whole) == 3 and len(rest) == 1
    for one, other in zip(whole[2], rest[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(whole[0][0], read(data, 5)[0][0])


def test_an_epoch_has_each_image_once_but_an_incomplete_batch(data):
    order = np.random.default_rng([3, 4]).permutation(7)[:6]
    labels = [batch[2][row, 0] for batch in read(data, 4) for row in (0, 1)]
    expected = [data.labels[i][0] for i in order]
    assert labels == expected
