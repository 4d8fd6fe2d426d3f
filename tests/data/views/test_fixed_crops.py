"""Crops of one scale: a place in the resized square, mirrored or not."""

import numpy as np
import pytest

from tests.support import image_files
from tfclust import data


def source(num_images=6, side=6):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, [num_images, side, side, 3], np.uint8)
    return data.ArraySource(images), images


def crops_of(fixed, epoch):
    """Images as bytes, and the index of each, of an epoch."""
    batches = list(fixed.batches(epoch))
    pixels = [np.rint(fixed.on_device(batch) * 255) for batch in batches]
    index = [batch["index"].numpy() for batch in batches]
    return np.concatenate(pixels), np.concatenate(index)


def place_of(crop, image, size=4):
    """(top, left, mirrored) of a crop in its image, or None."""
    for top in range(image.shape[0] - size + 1):
        for left in range(image.shape[1] - size + 1):
            part = image[top : top + size, left : left + size]
            for mirrored in (False, True):
                if (crop == (part[:, ::-1] if mirrored else part)).all():
                    return top, left, mirrored
    return None


def test_crops_lie_anywhere_in_the_square_and_are_fresh_each_epoch():
    images_source, images = source(40)
    fixed = data.FixedCrops(
        images_source, image_size=4, resize_size=6, batch_size=8
    )
    places = []
    for epoch in (0, 1):
        crops, index = crops_of(fixed, epoch)
        assert sorted(index) == list(range(40))
        found = [
            place_of(crop, images[i])
            for crop, i in zip(crops, index, strict=True)
        ]
        places.append(dict(zip(index.tolist(), found, strict=True)))
    both = [place for of in places for place in of.values()]
    assert None not in both
    assert {(top, left) for top, left, _ in both} == {
        (top, left) for top in range(3) for left in range(3)
    }
    # A half of 80, within four deviations.
    assert 22 < sum(mirrored for *_, mirrored in both) < 58
    changed = sum(places[0][i] != places[1][i] for i in range(40))
    assert changed > 25


@pytest.mark.parametrize("stored", [True, False])
def test_lost_image_is_replaced_with_its_index(tmp_path, stored):
    images = [np.full([6, 6, 3], 20 * i, np.uint8) for i in range(9)]
    for i, image in enumerate(images):
        image_files.write(tmp_path, f"{i}.png", image)
    if not stored:  # images of several sizes are read one by one
        wide = np.full([6, 7, 3], 180, np.uint8)
        image_files.write(tmp_path, "9.png", wide)
    lossy = data.open_source(f"folder:{tmp_path}")
    (tmp_path / "4.png").unlink()
    fixed = data.FixedCrops(lossy, image_size=4, resize_size=6, batch_size=9)

    crops, index = crops_of(fixed, 0)

    assert "4.png" in lossy.failures and 4 not in index
    np.testing.assert_array_equal(crops[:, 0, 0, 0], 20 * index)


def test_same_seed_repeats_every_crop_and_order():
    fixed = [
        data.FixedCrops(
            source()[0], image_size=4, resize_size=6, batch_size=3, seed=seed
        )
        for seed in (1, 1, 2)
    ]
    (one, first), (two, second), (three, _) = (crops_of(f, 3) for f in fixed)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(one, three)


def test_centres_are_those_of_evaluation_in_random_order():
    images_source, images = source()
    fixed = data.FixedCrops(
        images_source,
        image_size=4,
        resize_size=6,
        batch_size=4,
        moving=False,
    )
    crops, index = crops_of(fixed, 0)
    assert len(crops) == 4  # what does not fill a batch is left out
    np.testing.assert_array_equal(crops, images[index][:, 1:5, 1:5])
