"""Colours as a whole: drawn by us and by Pillow's steps, as distributions."""

import io
import zipfile

import numpy as np
import pytest
import scipy.stats
from PIL import Image, ImageFilter

from tests.support import oracles_images
from tfclust.data import config
from tfclust.data.config import ViewsConfig
from tfclust.data.views import photometric

SIZE, DRAWS = 32, 1500
# Two samples of one distribution are further apart once in a thousand times
# (Kolmogorov and Smirnov).
FAR = 1.95 * (2 / DRAWS) ** 0.5


def photo():
    coarse = np.random.default_rng(5).integers(40, 216, (5, 5, 3), np.uint8)
    image = Image.fromarray(coarse).resize((SIZE, SIZE), Image.BICUBIC)
    return np.asarray(image)


def drawn_by_us(images, photometric_mode, seed):
    """One view of each uint8 image `[n, S, S, 3]`, in grey levels."""
    chain = config.chain(
        ViewsConfig(num_views=(1,), photometric=photometric_mode)
    )
    steps = photometric.steps_of(chain, 0, 1)
    rng = np.random.default_rng(seed)
    shape = (len(images), 1, photometric.NUM_UNIFORMS)
    numbers = photometric.sample(rng.random(shape, np.float32), chain)
    return 255 * photometric.apply(images[:, None], numbers, steps).numpy()[0]


def drawn_by_pillow(image, rng):
    """One view of `image` by SwAV's chain: its own draws, Pillow's steps."""
    if rng.random() < 0.8:
        factors = rng.uniform(0.2, 1.8, 3)
        turn = rng.uniform(-0.2, 0.2)
        image = oracles_images.pillow_jitter(
            image, factors, turn, rng.permutation(4)
        )
    view = Image.fromarray(image)
    if rng.random() < 0.2:
        view = view.convert("L").convert("RGB")
    if rng.random() < 0.5:
        view = view.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 2.0)))
    return np.asarray(view)


def figures(views):
    """What a view looks like, in numbers; name -> `[n]`."""
    views = views.astype(np.float32)
    grey = views @ np.float32([0.299, 0.587, 0.114])
    across = np.abs(np.diff(grey, axis=2))
    return {
        "red": views[..., 0].mean((1, 2)),
        "green": views[..., 1].mean((1, 2)),
        "blue": views[..., 2].mean((1, 2)),
        "contrast": grey.std((1, 2)),
        "saturation": np.ptp(views, axis=-1).mean((1, 2)),
        "sharpness": across.mean((1, 2)) / (1 + grey.std((1, 2))),
        "clipped": (views > 254.5).mean((1, 2, 3)),
        "one pixel": views[:, 9, 20, 0],
    }


def distances(views, others):
    """The largest distance of cumulative shares, by figure."""
    ours, theirs = figures(views), figures(others)
    return {
        name: scipy.stats.ks_2samp(
            np.round(ours[name], 1), np.round(theirs[name], 1)
        ).statistic
        for name in ours
    }


@pytest.fixture(scope="module")
def by_pillow():
    rng = np.random.default_rng(1)
    return np.stack([drawn_by_pillow(photo(), rng) for _ in range(DRAWS)])


def test_sequential_views_are_distributed_as_by_pillows_steps(by_pillow):
    images = np.repeat(photo()[None], DRAWS, axis=0)
    found = distances(drawn_by_us(images, "sequential", 2), by_pillow)
    assert max(found.values()) < FAR, found


def test_a_difference_of_distributions_would_be_seen(by_pillow):
    rng = np.random.default_rng(3)
    weaker = np.stack(
        [
            drawn_by_pillow(photo(), rng)
            if i % 5
            else photo()  # a fifth of the views unchanged
            for i in range(DRAWS)
        ]
    )
    assert max(distances(weaker, by_pillow).values()) > 1.5 * FAR


def test_fused_views_differ_as_documented(by_pillow):
    images = np.repeat(photo()[None], DRAWS, axis=0)
    found = distances(drawn_by_us(images, "fused", 2), by_pillow)
    sharpness = found.pop("sharpness")
    assert max(found.values()) < 0.1, found
    assert 0.1 < sharpness < 0.2


@pytest.mark.slow
def test_fused_differs_from_sequential_on_photos_as_documented(shared_data):
    with zipfile.ZipFile(shared_data / "photos.zip") as photos:
        names = [n for n in photos.namelist() if n.endswith(".jpg")][::8]
        images = np.stack(
            [
                np.asarray(
                    Image.open(io.BytesIO(photos.read(name)))
                    .convert("RGB")
                    .resize((64, 64), Image.BILINEAR)
                )
                for name in names
            ]
        )
    images = np.repeat(images, 20, axis=0)
    views = (drawn_by_us(images, mode, 7) for mode in ("fused", "sequential"))
    fused, sequential = views
    found = np.abs(fused - sequential).mean((1, 2, 3))
    half, most = np.quantile(found, (0.5, 0.9))
    assert 3 < half < 5 and 25 < most < 38
