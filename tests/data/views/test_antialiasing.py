"""Crops that shrink, against Pillow's, which are always antialiased."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support import oracles_images
from tfclust import data
from tfclust.data.config import ViewsConfig
from tfclust.data.views import crops
from tfclust.evaluation.probes import sgd
from tfclust.evaluation.probes.recipe import ProbeConfig

RNG = np.random.default_rng(0)
VIEW_SIZE = 40
WHOLE = {"view_scales": ((1.0, 1.0),), "aspect_ratio": 1.0}


def whole_views(images, **knobs):
    """`[N, S, S, 3]`, one view of each image: all of it, by index."""
    views = data.Views(
        data.ArraySource(images),
        batch_size=len(images),
        view_sizes=(VIEW_SIZE,),
        num_views=(1,),
        augmentation="none",
        **WHOLE,
        **knobs,
    )
    (batch,) = views.batches(0).as_numpy_iterator()
    return batch["views"][0][np.argsort(batch["index"]), 0]


def noise(factor, count=2):
    side = round(factor * VIEW_SIZE)
    return RNG.integers(0, 256, (count, side, side, 3), np.uint8)


def assert_pillows(images, views):
    for image, view in zip(images, views, strict=True):
        box = (0, 0, *image.shape[:2])
        expected = oracles_images.pillow_crop(image, box, VIEW_SIZE)
        # Pillow rounds to whole grey levels after each of its two passes.
        assert np.abs(view - expected.astype(int)).max() <= 1


def test_views_equal_pillows_by_whatever_factor_they_shrink():
    images = [noise(factor, 1)[0] for factor in (1.0, 1.2, 1.5, 1.9, 2.6)]
    assert_pillows(images, whole_views(images))


def test_images_that_memory_would_hold_are_antialiased_too():
    images = noise(1.5)  # of one size
    smooth, plain = whole_views(images), whole_views(images, antialias_from=1.6)
    assert_pillows(images, smooth)
    # What the knob leaves plain has the fine detail that Pillow takes out.
    assert plain.std() > 1.2 * smooth.std()


@pytest.mark.parametrize(
    "least, expected",
    [
        (1.0, [False, True, True, True]),
        (1.5, [False, False, True, True]),
        (2.0, [False, False, False, True]),
    ],
)
def test_crops_are_antialiased_from_the_factor_on(least, expected):
    sides = np.int32([40, 41, 60, 80])
    extents = np.stack([sides, sides // 2, 0 * sides + 3], axis=-1)[:, None]
    found = crops.needs_antialias(extents, [VIEW_SIZE], least)
    assert found.numpy()[:, 0].tolist() == expected


def photo_like(height, width):
    """Noise whose amplitude falls as 1 / frequency, as photos' does."""
    far = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    far[0, 0] = 1.0
    noise = np.fft.fft2(RNG.normal(size=(3, height, width))) / far
    image = np.fft.ifft2(noise).real.transpose(1, 2, 0)
    image = 128 + 50 * (image - image.mean()) / image.std()
    return np.uint8(np.clip(np.round(image), 0, 255))


def fine_detail(crop):
    """Energy of the upper half of the frequencies, along either axis."""
    size = len(crop)
    spectrum = np.fft.fft2(np.float64(crop), axes=(0, 1))
    high = np.abs(np.fft.fftfreq(size)) > 0.25
    return (np.abs(spectrum[high[:, None] | high[None]]) ** 2).sum()


@pytest.mark.parametrize(
    "least, low, high",
    # docs/data.md states what plain crops have more.
    [(ViewsConfig().antialias_from, 0.98, 1.02), (2.0, 1.6, 2.0)],
)
def test_small_crops_of_a_photo_have_as_fine_detail_as_pillows(
    least, low, high
):
    image = photo_like(375, 500)
    uniforms = RNG.random((40, 1, crops.NUM_UNIFORMS), np.float32)
    sides = np.full(40, 375, np.int32), np.full(40, 500, np.int32)
    boxes = crops.random_boxes(uniforms, *sides, [(0.05, 0.14)], 4 / 3)
    begins, extents = crops.whole_pixels(boxes, *sides, np.ones(40, np.int32))
    smooth = crops.needs_antialias(extents, [96], least)
    ours = theirs = 0.0
    for plan in zip(begins[:, 0], extents[:, 0], smooth[:, 0], strict=True):
        begin, extent = (part.numpy() for part in plan[:2])
        found = crops.cut(image, *plan, tf.constant(False), 96)
        box = (*begin[:2], *extent[:2])
        ours += fine_detail(found.numpy())
        theirs += fine_detail(oracles_images.pillow_crop(image, box, 96))
    assert low < ours / theirs < high


def test_the_linear_probe_trains_on_antialiased_crops(monkeypatch):
    asked = []

    class Asked(Exception):
        pass

    def views(*_, **knobs):
        asked.append(knobs["antialias_from"])
        raise Asked

    monkeypatch.setattr(sgd.data, "Views", views)
    train = data.ArraySource(noise(1.0, 4), np.arange(4) % 2)
    with pytest.raises(Asked):
        sgd.sgd_probe(None, train, None, ProbeConfig(), image_size=8)
    assert asked == [1.0]
