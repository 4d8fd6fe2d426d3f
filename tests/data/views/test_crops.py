"""Boxes of random resized crops, and pixels against Pillow's."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.support import oracles_images
from tfclust.data.reading import decoding
from tfclust.data.sources.base import with_edge
from tfclust.data.views import crops

RNG = np.random.default_rng(0)


def boxes_of(height, width, scale, aspect_ratio=4 / 3, num=64):
    uniforms = RNG.random((num, 1, crops.NUM_UNIFORMS), np.float32)
    sides = np.full([num], height, np.int32), np.full([num], width, np.int32)
    boxes = crops.random_boxes(uniforms, *sides, [scale], aspect_ratio)
    return boxes.numpy()[:, 0]


def smooth_image(height, width):
    """A photo-like image: Pillow's bicubic from a coarse grid."""
    coarse = RNG.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3))
    coarse = Image.fromarray(coarse.astype(np.uint8))
    return np.asarray(coarse.resize((width, height), Image.BICUBIC))


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    low=st.floats(0.01, 1.0),
    high=st.floats(0.01, 1.0),
    aspect_ratio=st.floats(1.0, 3.0),
)
def test_boxes_lie_in_the_image(height, width, low, high, aspect_ratio):
    scale = (min(low, high), max(low, high))
    boxes = boxes_of(height, width, scale, aspect_ratio)
    rounding = 1e-4 * max(height, width)  # float32
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] > 0).all()
    assert (boxes[:, 0] + boxes[:, 2] <= height + rounding).all()
    assert (boxes[:, 1] + boxes[:, 3] <= width + rounding).all()
    ratios = boxes[:, 3] / boxes[:, 2]
    assert (ratios <= aspect_ratio * 1.001).all()
    assert (ratios >= 0.999 / aspect_ratio).all()


def test_areas_and_ratios_spread_over_what_was_asked():
    boxes = boxes_of(400, 500, (0.1, 0.4), num=4000)
    shares = boxes[:, 2] * boxes[:, 3] / 200_000
    assert shares.min() == pytest.approx(0.1, abs=0.002)
    assert shares.max() == pytest.approx(0.4, abs=0.002)
    assert shares.mean() == pytest.approx(0.25, abs=0.01)
    assert np.log(boxes[:, 3] / boxes[:, 2]).mean() == pytest.approx(
        0, abs=0.02
    )


def test_a_very_wide_image_gives_its_centre():
    boxes = boxes_of(100, 1000, (1.0, 1.0))
    np.testing.assert_allclose(
        boxes, [[0, 500 - 200 / 3, 100, 400 / 3]] * 64, rtol=1e-4
    )


@pytest.mark.parametrize("view_size", [8, 24, 40])
def test_crop_and_resize_equals_pillow_where_it_enlarges(view_size):
    images = RNG.integers(0, 256, (3, 12, 10, 3), np.uint8)
    boxes = np.concatenate([boxes_of(12, 10, (0.05, 0.4), num=8)] * 3)
    boxes[:, 2:] = np.minimum(boxes[:, 2:], view_size)  # no shrinking
    owners = np.repeat(np.arange(3), 8).astype(np.int32)
    found = crops.crop_and_resize(
        with_edge(images), owners, boxes, np.zeros(24, bool), view_size
    )
    for owner, box, crop in zip(owners, boxes, found.numpy(), strict=True):
        expected = oracles_images.pillow_crop(images[owner], box, view_size)
        # Pillow rounds to whole grey levels after each of its two passes.
        assert np.abs(crop - expected.astype(int)).max() <= 2


def test_a_plain_image_stays_plain_up_to_its_border():
    images = np.full((1, 5, 5, 3), 200, np.uint8)
    box = np.float32([[0, 0, 5, 5], [0, 0, 1, 1], [4, 4, 1, 1]])
    found = crops.crop_and_resize(
        with_edge(images), np.zeros(3, np.int32), box, [False, True, False], 32
    )
    assert (found.numpy() == 200).all()


def test_a_whole_image_at_its_own_size_is_unchanged():
    images = RNG.integers(0, 256, (1, 32, 32, 3), np.uint8)
    box = np.float32([[0, 0, 32, 32]])
    found = crops.crop_and_resize(with_edge(images), [0], box, [False], 32)
    np.testing.assert_array_equal(found, images)
    found = crops.crop_and_resize(with_edge(images), [0], box, [True], 32)
    np.testing.assert_array_equal(found, images[:, :, ::-1])


def cut(image, box, view_size, mirrored=False):
    extents = tf.constant([[[*box[2:], 3]]])
    smooth = crops.needs_antialias(extents, [view_size], 1.0)[0, 0]
    begin = tf.constant([*box[:2], 0])
    return crops.cut(
        tf.constant(image),
        begin,
        extents[0, 0],
        smooth,
        tf.constant(mirrored),
        view_size,
    ).numpy()


@pytest.mark.parametrize("side", [40, 64, 70, 96, 120, 128, 150, 300])
def test_cut_equals_pillow_where_it_enlarges_or_shrinks(side):
    image = smooth_image(310, 330)
    found = cut(image, (5, 9, side, side), 64)
    # Pillow crops first here, since a crop reads nothing outside itself.
    part = image[5 : 5 + side, 9 : 9 + side]
    expected = oracles_images.pillow_crop(part, (0, 0, side, side), 64)
    assert np.abs(found - expected.astype(int)).max() <= 1


def test_cut_mirrors_left_to_right():
    image = smooth_image(80, 90)
    straight = cut(image, (3, 4, 60, 50), 32)
    mirrored = cut(image, (3, 4, 60, 50), 32, mirrored=True)
    np.testing.assert_array_equal(mirrored, straight[:, ::-1])


def test_a_jpeg_is_decoded_as_small_as_its_smallest_crop_allows():
    boxes = np.float32([[[0, 0, 900, 450], [0, 0, 220, 260]]] * 2)
    ratio = crops.dct_ratio(boxes, [100, 50], tf.constant([True, False]))
    # 450 / 100 and 220 / 50 pixels a sample allow 4; a PNG allows nothing.
    assert ratio.numpy().tolist() == [4, 1]


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(
    height=st.integers(1, 900),
    width=st.integers(1, 900),
    ratio=st.sampled_from([1, 2, 4, 8]),
)
def test_whole_pixels_lie_in_the_decoded_image(height, width, ratio):
    boxes = boxes_of(height, width, (0.01, 1.0))[:, None]
    sides = np.full([64], height, np.int32), np.full([64], width, np.int32)
    begins, extents = crops.whole_pixels(
        boxes, *sides, np.full([64], ratio, np.int32)
    )
    limits = [-(-height // ratio), -(-width // ratio), 3]
    assert (begins.numpy() >= 0).all() and (extents.numpy() >= 1).all()
    assert ((begins + extents).numpy() <= limits).all()


def errors_on_photos(photos, view_size, scale):
    """Mean grey levels between our crop of a JPEG and Pillow's, a crop each."""
    errors = []
    for path in photos:
        data = path.read_bytes()
        image = np.asarray(Image.open(path).convert("RGB"))
        height, width = image.shape[:2]
        box = boxes_of(height, width, scale, num=1)[:, None]
        ratio = crops.dct_ratio(box, [view_size], [True])
        begins, extents = crops.whole_pixels(
            box, np.int32([height]), np.int32([width]), ratio
        )
        begin, extent = begins.numpy()[0, 0], extents.numpy()[0, 0]
        small = decoding.decode(tf.constant(data), ratio[0])
        found = cut(small, (*begin[:2], *extent[:2]), view_size)
        place = np.concatenate([begin[:2], extent[:2]]) * ratio.numpy()
        place[2:] = np.minimum(place[2:], [height, width] - place[:2])
        expected = oracles_images.pillow_crop(image, place, view_size)
        errors.append(np.abs(found - expected.astype(int)).mean())
    return np.array(errors)


@pytest.mark.parametrize(
    "view_size, scale",
    [(224, (0.14, 1)), (96, (0.05, 0.14)), (48, (0.1, 1.0)), (32, (0.3, 1.0))],
)
def test_crops_of_photos_are_within_the_stated_tolerance(
    photos, view_size, scale
):
    errors = errors_on_photos(photos, view_size, scale)
    # docs/data.md states these: grey levels of 255, over crops of photos.
    assert errors.mean() < 2.5
    assert np.quantile(errors, 0.9) < 6


@pytest.fixture(scope="module")
def photos(shared_data, tmp_path_factory):
    import zipfile

    folder = tmp_path_factory.mktemp("photos")
    with zipfile.ZipFile(shared_data / "photos.zip") as stored:
        names = [n for n in stored.namelist() if n.endswith(".jpg")][::11]
        return [folder / stored.extract(name, folder) for name in sorted(names)]


@pytest.mark.parametrize("degrees", [2.0, -2.0, 30.0])
@pytest.mark.parametrize("size", [16, 33])
def test_rotated_views_match_pillow_in_the_middle(size, degrees):
    image = smooth_image(size, size)
    turned = crops.rotate(image[None], np.float32([np.deg2rad(degrees)]))[0]
    expected = Image.fromarray(image).rotate(degrees, Image.BILINEAR)
    # At the edges Pillow repeats the border's pixels before it fills.
    inner = slice(size // 4, -(size // 4))
    difference = np.int32(turned) - np.asarray(expected, np.int32)
    assert np.abs(difference[inner, inner]).max() <= 1


def test_a_turned_view_has_black_corners_and_a_still_one_none():
    white = np.full((2, 32, 32, 3), 255, np.uint8)
    turned, still = crops.rotate(white, np.float32([np.deg2rad(30), 0]))
    assert turned[0, 0, 0] == 0 and turned[16, 16, 0] == 255
    np.testing.assert_array_equal(still, white[0])
