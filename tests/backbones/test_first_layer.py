"""The first convolution's kernels, in the colours of the image."""

import keras
import numpy as np
import pytest

from tfclust import backbones


def convolving(*, preprocessing="none", nested=False):
    """A network whose first convolution has four kernels of 3 x 3."""
    keras.utils.set_random_seed(0)
    images = keras.Input([16, 16, 3])
    x = keras.layers.ZeroPadding2D(1)(images)
    x = keras.layers.Conv2D(4, 3, name="first")(x)
    x = keras.layers.Conv2D(2, 3, name="second")(x)
    inner = keras.Model(images, x)
    if nested:
        images = keras.Input([16, 16, 3])
        inner = keras.Model(images, inner(keras.layers.Rescaling(2.0)(images)))
    return inner, backbones.adapt(inner, preprocessing=preprocessing)


def response(model, image):
    """The first convolution's values at a picture of one colour."""
    inner = keras.Model(model.inputs[0], backbones.map_named(model, "first"))
    plain = np.zeros([2, 16, 16, 3], np.float32)
    plain[1] = image
    found = inner.predict(plain, verbose=0)[:, 8, 8]
    return found[1] - found[0]


@pytest.mark.parametrize(
    "preprocessing", ["none", "0..255", "imagenet", "bgr", "-1..1"]
)
def test_kernels_act_on_red_green_and_blue_of_the_image(preprocessing):
    _, model = convolving(preprocessing=preprocessing)

    found = backbones.first_filters(model)

    assert (found.name, found.are_colours) == ("first", True)
    assert found.kernels.shape == (4, 3, 3, 3)
    for colour in np.eye(3):
        # A plain picture is seen through the sum of a kernel's weights.
        expected = response(model, colour)
        sums = found.kernels.sum(axis=(1, 2)) @ colour
        np.testing.assert_allclose(sums, expected, rtol=1e-3, atol=1e-4)


def test_network_inside_a_network_is_looked_into():
    inner, model = convolving(nested=True)
    found = backbones.first_filters(model)
    kernel = np.moveaxis(
        inner.layers[-1].get_layer("first").get_weights()[0], -1, 0
    )
    np.testing.assert_allclose(found.kernels, 2 * kernel, rtol=1e-5)


def test_filters_on_sobels_edges_are_no_colours():
    model = backbones.build("small", sobel=True)
    found = backbones.first_filters(model)
    assert not found.are_colours and found.kernels.shape[-1] == 2
    rgb = backbones.first_filters(backbones.build("small"))
    assert rgb.are_colours and rgb.kernels.shape[0] == found.kernels.shape[0]


def test_network_that_begins_with_something_else_has_none():
    images = keras.Input([16, 16, 3])
    x = keras.layers.Dense(3)(images)
    x = keras.layers.Conv2D(4, 3)(x)
    model = backbones.adapt(keras.Model(images, x))
    assert backbones.first_filters(model) is None
