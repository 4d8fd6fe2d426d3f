"""Colour, grey, blur and solarise against NumPy, SciPy and Pillow."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from PIL import Image, ImageFilter, ImageOps

from tests.support import oracles_images
from tfclust.data import config
from tfclust.data.config import ViewsConfig
from tfclust.data.views import photometric

RNG = np.random.default_rng(0)
SIZE = 32  # one size and few shapes: XLA compiles each anew
EVERYTHING = photometric.Steps(
    color=True, blur_radius=6, solarise=True, sequential=False
)
ORDERS = photometric._ORDERS


def numbers(factors=(1, 1, 1), turn=0, order=0, grey=0, sigma=0, solarise=0):
    return np.float32([*factors, turn, order, grey, sigma, solarise])


def changed(image, row, steps=EVERYTHING):
    """`apply` on one uint8 image."""
    found = photometric.apply(image[None, None], row[None, None], steps)
    return found.numpy()[0, 0]


def photo():
    coarse = RNG.integers(0, 256, (8, 8, 3), np.uint8)
    image = Image.fromarray(coarse).resize((SIZE, SIZE), Image.BICUBIC)
    return np.asarray(image)


@pytest.mark.parametrize("sequential", [False, True])
def test_neutral_numbers_change_nothing(sequential):
    image = photo()
    steps = EVERYTHING._replace(sequential=sequential)
    found = changed(image, numbers(order=7), steps)
    # The fused map is a product of matrices that are 1 but for rounding.
    np.testing.assert_allclose(found, image / 255, atol=3e-6)


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(
    factors=st.tuples(*[st.floats(0.2, 1.8)] * 3),
    turn=st.floats(-0.5, 0.5),
    order=st.integers(0, 23),
)
def test_fused_equals_the_steps_in_numpy(factors, turn, order):
    image = photo()
    found = changed(image, numbers(factors, turn, order))
    expected = oracles_images.affine_jitter(
        image / 255, factors, turn, ORDERS[order]
    )
    # float32 products of up to six matrices with entries up to 4
    np.testing.assert_allclose(found, np.clip(expected, 0, 1), atol=2e-5)


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(
    factors=st.tuples(*[st.floats(0.2, 1.8)] * 3),
    turn=st.floats(-0.2, 0.2),
    order=st.integers(0, 23),
)
def test_sequential_equals_pillow_but_for_its_rounding(factors, turn, order):
    image = photo()
    steps = EVERYTHING._replace(sequential=True)
    found = 255 * changed(image, numbers(factors, turn, order), steps)
    expected = oracles_images.pillow_jitter(image, factors, turn, ORDERS[order])
    # Pillow keeps whole grey levels after each step and hue in 255 steps,
    # which later factors enlarge.
    assert np.abs(found - expected).mean() < 4


def test_fused_equals_sequential_where_nothing_is_clipped_and_no_hue_turns():
    image = (photo() // 2 + 64).astype(np.uint8)
    row = numbers((1.1, 0.9, 0.8), order=9)
    steps = EVERYTHING._replace(sequential=True)
    np.testing.assert_allclose(
        changed(image, row), changed(image, row, steps), atol=1e-5
    )


@pytest.mark.parametrize("sequential", [False, True])
def test_grey_is_pillows_luma(sequential):
    image = photo()
    steps = EVERYTHING._replace(sequential=sequential)
    found = 255 * changed(image, numbers(grey=1), steps)
    expected = np.asarray(Image.fromarray(image).convert("L"))[..., None]
    assert np.abs(found - expected).max() < 1  # Pillow rounds
    assert np.ptp(found, axis=-1).max() < 1e-3


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_equals_scipy(sigma):
    image = photo()
    found = changed(image, numbers(sigma=sigma))
    expected = scipy.ndimage.gaussian_filter(
        image / 255, (sigma, sigma, 0), mode="reflect", radius=(6, 6, 0)
    )
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_blur_is_close_to_pillows():
    image = photo()
    found = 255 * changed(image, numbers(sigma=1.5))
    blurred = Image.fromarray(image).filter(ImageFilter.GaussianBlur(1.5))
    # Pillow's is three box blurs and continues the border; the inner part.
    inner = np.abs(found - np.asarray(blurred))[8:-8, 8:-8]
    assert inner.mean() < 1 and inner.max() < 4


def test_solarise_is_pillows():
    image = photo()
    found = 255 * changed(image, numbers(solarise=1))
    expected = ImageOps.solarize(Image.fromarray(image), 128)
    np.testing.assert_allclose(found, np.asarray(expected), atol=1e-3)


@pytest.mark.parametrize("sequential", [False, True])
def test_each_view_has_numbers_of_its_own(sequential):
    steps = EVERYTHING._replace(sequential=sequential)
    images = RNG.integers(0, 256, (3, 2, SIZE, SIZE, 3), np.uint8)
    chain = config.chain(ViewsConfig(augmentation="byol"))
    rows = sampled(chain, 3, 2)
    together = photometric.apply(images, rows, steps).numpy()
    assert together.shape == (2, 3, SIZE, SIZE, 3)
    for row in range(3):
        for view in range(2):
            alone = changed(images[row, view], rows[row, view], steps)
            np.testing.assert_allclose(together[view, row], alone, atol=1e-6)


def test_values_stay_in_0_to_1():
    chain = config.chain(ViewsConfig(solarise_probability=(0.5,)))
    images = RNG.integers(0, 2, (3, 2, SIZE, SIZE, 3)).astype(np.uint8) * 255
    for sequential in (False, True):
        steps = EVERYTHING._replace(sequential=sequential)
        for _ in range(20):
            rows = sampled(chain, 3, 2)
            found = photometric.apply(images, rows, steps).numpy()
            assert found.min() >= 0 and found.max() <= 1


def sampled(chain, num_rows, num_views):
    shape = (num_rows, num_views, photometric.NUM_UNIFORMS)
    return photometric.sample(RNG.random(shape, np.float32), chain).numpy()


def test_drawn_hues_keep_to_the_range_of_their_view():
    by_size = (0.4, 0.4, 0.2, 0.1, 0.8, 0.8, 0.8, 0.2)
    views = ViewsConfig(
        view_sizes=(12, 8),
        num_views=(1, 1),
        view_scales=((0.4, 1.0), (0.2, 0.4)),
        color_jitter=by_size,
    )
    hues = sampled(config.chain(views), 4000, 2)[..., photometric.HUE]
    largest = np.abs(hues).max(axis=0)
    np.testing.assert_allclose(largest, [0.1, 0.2], rtol=0.01)


def test_drawn_numbers_follow_the_swav_chain():
    rows = sampled(config.chain(ViewsConfig()), 4000, 2)
    factors = rows[..., :3]
    jittered = (factors != 1).all(axis=-1)
    # 8,000 draws: standard errors of shares are below 0.006.
    assert jittered.mean() == pytest.approx(0.8, abs=0.02)
    drawn = factors[jittered]
    assert drawn.min() == pytest.approx(0.2, abs=0.01)
    assert drawn.max() == pytest.approx(1.8, abs=0.01)
    assert np.abs(rows[..., photometric.HUE]).max() <= 0.2
    assert rows[..., photometric.GREY].mean() == pytest.approx(0.2, abs=0.02)
    sigma = rows[..., photometric.SIGMA]
    assert (sigma > 0).mean() == pytest.approx(0.5, abs=0.025)
    assert sigma[sigma > 0].min() >= 0.1 and sigma.max() <= 2.0
    assert rows[..., photometric.SOLARISE].max() == 0
    assert set(np.unique(rows[..., photometric.ORDER])) == set(range(24))


def test_drawn_numbers_follow_the_byol_pair():
    chain = config.chain(ViewsConfig(augmentation="byol"))
    rows = sampled(chain, 4000, 2)
    blurred = (rows[..., photometric.SIGMA] > 0).mean(axis=0)
    solarised = rows[..., photometric.SOLARISE].mean(axis=0)
    np.testing.assert_allclose(blurred, [1.0, 0.1], atol=0.03)
    np.testing.assert_allclose(solarised, [0.0, 0.2], atol=0.03)
    assert np.abs(rows[..., photometric.SATURATION] - 1).max() <= 0.2


def test_a_strength_above_one_never_gives_a_negative_factor():
    chain = config.chain(ViewsConfig(jitter_strength=2.0))
    factors = sampled(chain, 2000, 2)[..., :3]
    assert factors.min() >= 0 and factors.max() > 2.5


def test_steps_that_no_view_takes_are_left_out():
    def steps(first, last, **knobs):
        chain = config.chain(ViewsConfig(**knobs))
        return photometric.steps_of(chain, first, last)

    assert steps(0, 2, augmentation="none") == photometric.Steps(
        color=False, blur_radius=0, solarise=False, sequential=False
    )
    assert steps(0, 2).blur_radius == 6 and not steps(0, 2).solarise
    assert not steps(0, 1, augmentation="byol").solarise
    assert steps(1, 2, augmentation="byol").solarise
    assert not steps(0, 2, blur_probability=(0.0,)).blur_radius


def test_apply_may_be_called_in_a_function_that_xla_compiles_as_a_whole():
    images = RNG.integers(0, 256, (3, 2, SIZE, SIZE, 3), np.uint8)
    rows = sampled(config.chain(ViewsConfig()), 3, 2)
    expected = photometric.apply(images, rows, EVERYTHING)
    for jit in (False, True):

        @tf.function(jit_compile=jit)
        def whole(images, rows):
            return photometric.apply(images, rows, EVERYTHING)

        found = whole(images, rows)
        np.testing.assert_allclose(found, expected, atol=1e-6)
