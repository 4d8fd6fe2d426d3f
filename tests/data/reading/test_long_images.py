"""The centre of an image: as of the whole resized one, in bounded memory."""

import resource

import numpy as np
import pytest
import tensorflow as tf

from tfclust.data.views.passes import centred


def some(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)


def of_the_whole(images, resize_size, image_size):
    """The same by the letter: all of it resized, then cut."""
    height, width = images.shape[-3:-1]
    short = min(height, width)
    sides = [resize_size * side // short for side in (height, width)]
    smooth = tf.image.resize(images, sides, antialias=True).numpy()
    whole = np.uint8(np.clip(smooth, 0, 255) + np.float32(0.5))
    top, left = ((side - image_size) // 2 for side in sides)
    rows, columns = slice(top, top + image_size), slice(left, left + image_size)
    return whole[..., rows, columns, :]


@pytest.mark.parametrize(
    "shape", [(50, 41), (31, 97), (240, 30), (9, 9), (1, 8), (2, 24, 17)]
)
@pytest.mark.parametrize("sizes", [(32, 32), (40, 24), (117, 96)])
def test_usual_images_are_those_of_the_whole_to_the_bit(shape, sizes):
    images = some(*shape)
    np.testing.assert_array_equal(
        centred(images, *sizes), of_the_whole(images, *sizes)
    )


@pytest.mark.parametrize(
    "shape", [(1, 300), (300, 1), (3, 40), (700, 30), (2, 5, 60)]
)
@pytest.mark.parametrize("sizes", [(32, 32), (40, 24), (117, 96)])
def test_long_images_are_those_of_the_whole_to_a_grey_level(shape, sizes):
    """float32 places of the whole are coarser; a half may round elsewhere."""
    images = some(*shape)
    found = centred(images, *sizes).numpy().astype(int)
    assert np.abs(found - of_the_whole(images, *sizes)).max() <= 1


@pytest.mark.parametrize(
    "shape", [(1, 4000), (4000, 1), (1, 20_000), (3_000_000, 1)]
)
def test_a_line_needs_no_more_memory_than_its_centre(shape):
    """Whole, 1 x 4,000 would be 256 x 1,024,000: 4.4 GB in all."""
    images = some(*shape)
    centred(some(1, 100), 256, 224)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = centred(images, 256, 224).numpy()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert found.shape == (224, 224, 3)
    assert grown < 100 << 10  # KiB
    line = images.reshape(-1, 3)
    # The middle lies between two pixels; 1/512 of one away at [112, 112].
    middle = line[len(line) // 2 - 1 :][:2].mean(axis=0)
    np.testing.assert_allclose(found[112, 112], middle, atol=2)
