"""Arrays and digits as sources."""

import numpy as np
import pytest

from tests.support.image_files import RNG, picture, pixels
from tfclust import data

# Digits.


def test_digits_splits_part_the_1797_images_with_equal_shares():
    whole = data.open_source("digits:?split=all")
    train = data.open_source("digits:?split=train")
    test = data.open_source("digits:?split=test")
    assert whole.num_images == 1797
    assert (train.num_images, test.num_images) == (1433, 364)
    shares = np.bincount(test.labels) / np.bincount(whole.labels)
    assert shares.min() > 0.195 and shares.max() < 0.21
    train_rows = {image.tobytes() for image in pixels(train)}
    assert not train_rows & {image.tobytes() for image in pixels(test)}
    assert train.class_names == tuple("0123456789")


def test_digits_are_spread_over_all_grey_levels():
    images = np.array(pixels(data.open_source("digits:", max_images=50)))
    assert images.shape == (50, 8, 8, 3)
    assert images.min() == 0 and images.max() == 255


# Arrays.


def test_arrays_of_any_sizes_come_back_as_they_are():
    images = [picture(3 + i, 9 - i) for i in range(5)]
    source = data.ArraySource(images, labels=[4, 3, 2, 1, 0])
    for expected, found in zip(images, pixels(source), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert source.labels.dtype == np.int64
    assert source.stored() is None


def test_grey_arrays_become_rgb():
    grey = RNG.integers(0, 256, (4, 6, 5), np.uint8)
    found = np.array(pixels(data.ArraySource(grey)))
    np.testing.assert_array_equal(found, np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize(
    "images, labels, words",
    [
        (np.zeros((2, 4, 4, 3)), None, "uint8"),
        (np.zeros((2, 4, 4, 4), np.uint8), None, r"\[H, W, 3\]"),
        (np.zeros((2, 0, 4), np.uint8), None, "pixels"),
        ([], None, "0 images"),
        (np.zeros((2, 4, 4), np.uint8), [1], "for 2 images"),
        (np.zeros((2, 4, 4), np.uint8), [0.5, 1], "one integer"),
        (
            np.zeros((2, 4, 4), np.uint8),
            np.uint64([0, 2**63]),
            "at most 9,223.*Received: 9,223,372,036,854,775,808",
        ),
    ],
)
def test_arrays_that_are_no_images_are_refused(images, labels, words):
    with pytest.raises(ValueError, match=words):
        data.ArraySource(images, labels)


def test_images_of_one_size_are_stored_with_their_edge_doubled():
    images = RNG.integers(0, 256, (3, 4, 5, 3), np.uint8)
    stored = data.ArraySource(images).stored().numpy()
    assert stored.shape == (3, 6, 7, 3)
    np.testing.assert_array_equal(stored[:, 1:-1, 1:-1], images)
    np.testing.assert_array_equal(stored[:, 0, 1:-1], images[:, 0])
    np.testing.assert_array_equal(stored[:, 1:-1, -1], images[:, :, -1])
