"""What images look like, against NumPy."""

import numpy as np
import pytest

from tests.support.image_files import write
from tfclust import data
from tfclust.training.planning.looking import look


def folder_of(path, images):
    for i, image in enumerate(images):
        write(path, f"{i:03d}.png", image)
    return data.open_source(str(path))


def test_sizes_are_those_of_the_files(tmp_path):
    rng = np.random.default_rng(0)
    sides = [(20, 30), (24, 50), (40, 28)]
    images = [rng.integers(0, 256, (*s, 3), np.uint8) for s in sides]
    seen = look(folder_of(tmp_path, images))
    assert (seen.num_images, seen.short_side, seen.largest_side) == (3, 24, 50)


@pytest.mark.parametrize("grey", [True, False])
def test_grey_images_are_told_from_coloured_ones(tmp_path, grey):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (6, 16, 16, 1 if grey else 3), np.uint8)
    images = np.broadcast_to(images, (6, 16, 16, 3))
    assert look(folder_of(tmp_path, images)).grey == grey


def test_likeness_is_the_mean_correlation_of_two_images(tmp_path):
    rng = np.random.default_rng(2)
    shared = rng.integers(0, 128, (16, 16, 3))
    own = rng.integers(0, 128, (9, 16, 16, 3))
    images = np.uint8(shared + own)
    rows = images.reshape(9, -1).astype(float)
    correlations = np.corrcoef(rows)[np.triu_indices(9, 1)]
    seen = look(folder_of(tmp_path, images))
    assert seen.likeness == pytest.approx(correlations.mean(), abs=1e-4)


def test_a_plain_folder_and_a_varied_one_are_called_so(tmp_path):
    flat = np.full((8, 16, 16, 3), 90, np.uint8)
    flat[:, 4:8, 4:8] = np.arange(100, 164, 8)[:, None, None, None]
    seen = look(folder_of(tmp_path / "flat", flat))
    assert "very much alike" in seen.in_words()
    noise = np.random.default_rng(3).integers(0, 256, flat.shape, np.uint8)
    seen = look(folder_of(tmp_path / "noise", noise))
    assert "unlike one another" in seen.in_words()
