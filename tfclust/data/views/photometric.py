"""Colour, grey, blur and solarise on the device, each image by its numbers.

The host draws the numbers (`sample`), the device applies them to whole batches
under XLA (`apply`). The steps are those of torchvision's `ColorJitter` in
random order, then grey, Gaussian blur and solarise, as in SimCLR, SwAV and
BYOL.

`fused`: brightness, contrast, saturation, hue and grey of a view are combined
into ONE affine map of RGB. Differs from the papers: values are clipped once at
the end and not after each step, and hue is rotated in the YIQ plane.
`sequential`: the papers' steps one by one, hue in HSV; differs only in that it
keeps floats where Pillow rounds to whole grey levels after each step.
"""

import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust.ops.pixels import as_floats

# One column for each number of a view.
BRIGHTNESS, CONTRAST, SATURATION, HUE, ORDER, GREY, SIGMA, SOLARISE = range(8)
NUM_PARAMETERS = 8
NUM_UNIFORMS = 10

_ORDERS = np.array(list(itertools.permutations(range(4))), np.int32)  # [24, 4]
_LUMA = np.array(
    [0.299, 0.587, 0.114], np.float32
)  # ITU-R 601, as Pillow's "L"
_RGB_TO_YIQ = np.array(
    [
        [0.299, 0.587, 0.114],
        [0.5959, -0.2746, -0.3213],
        [0.2115, -0.5227, 0.3112],
    ],
    np.float32,
)
_YIQ_TO_RGB = np.linalg.inv(_RGB_TO_YIQ)
_SOLARISE_FROM = 128 / 255


class Steps(NamedTuple):
    """Which steps a group of views may need; the others are left out."""

    color: bool
    blur_radius: int  # pixels; 0 for no blur
    solarise: bool
    sequential: bool


def steps_of(chain, first_view, last_view):
    """`Steps` for views [first_view, last_view) of a `config.Chain`."""
    views = slice(first_view, last_view)
    jitters = chain.jitter_probability > 0 and chain.jitter[views].any()
    blurs = chain.blur_probability[views].any()
    # Three standard deviations hold 99.7 % of a Gaussian.
    radius = int(np.ceil(3 * chain.blur_sigma[1])) if blurs else 0
    return Steps(
        color=bool(jitters or chain.grey_probability > 0),
        blur_radius=radius,
        solarise=bool(chain.solarise_probability[views].any()),
        sequential=chain.sequential,
    )


def sample(uniforms, chain):
    """The numbers of each view.

    Args:
      uniforms: float32 `[b, V, NUM_UNIFORMS]` in [0, 1).
      chain: `config.Chain` of V views.

    Returns:
      float32 `[b, V, NUM_PARAMETERS]`; factors of 1 and zeros if a step is not
      applied.
    """
    parts = tf.split(uniforms, [1, 4, 1, 1, 1, 1, 1], axis=-1)
    jitters, amounts, order, greys, blurs, sigma, solarises = parts
    # torchvision draws a factor from [max(0, 1 - change), 1 + change].
    factors, hue = chain.jitter[:, :3], chain.jitter[:, 3:]  # [V, 3], [V, 1]
    most = np.concatenate([1 + factors, hue], axis=1)
    least = np.concatenate([np.maximum(1 - factors, 0), -hue], axis=1)
    changes = tf.where(
        jitters < chain.jitter_probability,
        least.astype(np.float32) + (most - least).astype(np.float32) * amounts,
        np.array([1, 1, 1, 0], np.float32),
    )  # [b, V, 4]
    low, high = chain.blur_sigma
    blurred = blurs < chain.blur_probability[:, None]
    return tf.concat(
        [
            changes,
            tf.minimum(tf.floor(order * len(_ORDERS)), len(_ORDERS) - 1),
            tf.cast(greys < chain.grey_probability, tf.float32),
            tf.where(blurred, low + (high - low) * sigma, 0.0),
            tf.cast(
                solarises < chain.solarise_probability[:, None], tf.float32
            ),
        ],
        axis=-1,
    )


def apply(views, parameters, steps):
    """Views with their colours changed, under XLA.

    Args:
      views: uint8 `[b, n, S, S, 3]`.
      parameters: float32 `[b, n, NUM_PARAMETERS]` from `sample`.
      steps: `Steps`.

    Returns:
      float32 `[n, b, S, S, 3]` in [0, 1].
    """
    # Two compiled functions: within one, XLA would compute the colours again
    # for each pixel of the blur's window.
    images = _colored(views, parameters, steps)
    if steps.blur_radius or steps.solarise:
        images = _blurred(images, parameters, steps)
    return images


# Compiled, so that the pixels are read once, not twice.
to_float = tf.function(as_floats, jit_compile=True, autograph=False)


@tf.function(jit_compile=True, autograph=False)
def _colored(views, parameters, steps):
    """Colour and grey: uint8 `[b, n, S, S, 3]` to float `[n, b, S, S, 3]`."""
    # Without AVX-512, oneDNN complains about a transpose of uint8.
    views = tf.stack(tf.unstack(views, axis=1))  # [n, b, S, S, 3]
    images = as_floats(_flat(views))
    if steps.color:
        change = _change_in_turn if steps.sequential else _change_at_once
        images = change(images, _numbers(parameters))
    return tf.reshape(images, [views.shape[0], -1, *images.shape[1:]])


@tf.function(jit_compile=True, autograph=False)
def _blurred(views, parameters, steps):
    """Blur and solarise: float `[n, b, S, S, 3]` to the same."""
    images, numbers = _flat(views), _numbers(parameters)
    if steps.blur_radius:
        radius = min(steps.blur_radius, views.shape[2])
        images = _blur(images, numbers[:, SIGMA], radius)
    if steps.solarise:
        images = _solarise(images, numbers[:, SOLARISE])
    return tf.reshape(images, [views.shape[0], -1, *images.shape[1:]])


def _flat(views):
    return tf.reshape(views, [-1, *views.shape[2:]])  # [n * b, S, S, 3]


def _numbers(parameters):
    parameters = tf.transpose(parameters, [1, 0, 2])  # [n, b, P]
    return tf.reshape(parameters, [-1, NUM_PARAMETERS])  # [n * b, P]


def _change_at_once(images, numbers):
    """Brightness, contrast, saturation, hue and grey as one affine map."""
    linear, offset = _affine(numbers, tf.reduce_mean(images, axis=[1, 2]))
    # Written out: a 3 x 3 product per image is too small for a matrix kernel.
    red, green, blue = (images[..., i, None] for i in range(3))
    columns = (linear[:, None, None, :, i] for i in range(3))
    to_red, to_green, to_blue = columns  # [m, 1, 1, 3]
    changed = red * to_red + green * to_green + blue * to_blue
    return tf.clip_by_value(changed + offset[:, None, None, :], 0.0, 1.0)


def _affine(numbers, means):
    """The map `linear @ rgb + offset`, `[m, 3, 3]` and `[m, 3]`.

    Args:
      numbers: `[m, NUM_PARAMETERS]`.
      means: `[m, 3]`, mean colour of each image, for the contrast's pivot.
    """
    unit = tf.eye(3, batch_shape=[tf.shape(numbers)[0]])  # [m, 3, 3]
    to_grey = tf.zeros_like(unit) + _LUMA  # each row gives the luma
    column = [numbers[:, i, None, None] for i in range(NUM_PARAMETERS)]
    saturate = column[SATURATION] * unit
    saturate += (1 - column[SATURATION]) * to_grey
    maps = tf.stack(
        [
            column[BRIGHTNESS] * unit,
            column[CONTRAST] * unit,
            saturate,
            _hue_turn(numbers[:, HUE]),
        ],
        axis=1,
    )  # [m, 4, 3, 3], in the order of the columns
    order = tf.gather(_ORDERS, tf.cast(numbers[:, ORDER], tf.int32))  # [m, 4]
    linear, offset = unit, tf.zeros_like(means)
    for place in range(4):
        chosen = tf.one_hot(order[:, place], 4)  # [m, 4]
        step = tf.einsum("mo,moij->mij", chosen, maps)
        mean = tf.einsum("mij,mj->mi", linear, means) + offset
        pivot = tf.reduce_sum(mean * _LUMA, axis=1, keepdims=True)  # [m, 1]
        pivot *= (1 - numbers[:, CONTRAST, None]) * chosen[:, CONTRAST, None]
        linear = tf.einsum("mij,mjk->mik", step, linear)
        offset = tf.einsum("mij,mj->mi", step, offset) + pivot
    grey = column[GREY]
    last = grey * to_grey + (1 - grey) * unit
    linear = tf.einsum("mij,mjk->mik", last, linear)
    offset = tf.einsum("mij,mj->mi", last, offset)
    return linear, offset


def _hue_turn(turns):
    """`[m, 3, 3]`: a rotation by `turns` `[m]` in the IQ plane of YIQ."""
    angle = 2 * np.pi * turns
    cos, sin = tf.cos(angle), tf.sin(angle)
    one, none = tf.ones_like(cos), tf.zeros_like(cos)
    rows = [[one, none, none], [none, cos, -sin], [none, sin, cos]]
    turn = tf.stack([tf.stack(row, axis=-1) for row in rows], axis=-2)
    return tf.einsum("ij,mjk,kl->mil", _YIQ_TO_RGB, turn, _RGB_TO_YIQ)


def _change_in_turn(images, numbers):
    """The four steps in each image's order, clipped after each; then grey."""
    order = tf.gather(_ORDERS, tf.cast(numbers[:, ORDER], tf.int32))  # [m, 4]
    place_of_hue = tf.argmax(tf.cast(order == HUE, tf.int32), axis=1)
    place_of_hue = tf.cast(place_of_hue, tf.int32)
    # Hue is the expensive step. It is computed once, between the blends before
    # and the blends after it; a blend on the wrong side of it does nothing.
    for place in range(3):
        images = _blend(images, numbers, order, place, place < place_of_hue)
    images = _turn_hue(images, numbers[:, HUE])
    for place in range(1, 4):
        images = _blend(images, numbers, order, place, place > place_of_hue)
    grey = numbers[:, GREY, None, None, None]
    return grey * _luma(images) + (1 - grey) * images


def _blend(images, numbers, order, place, due):
    """Brightness, contrast or saturation, whichever is due at `place`.

    Each is a blend of the image with black, its mean grey or its own grey.
    """
    kind = order[:, place, None, None, None]  # [m, 1, 1, 1]
    factor = tf.gather(numbers, order[:, place], batch_dims=1)
    factor = tf.where(due, factor, 1.0)[:, None, None, None]
    luma = _luma(images)  # [m, S, S, 1]
    mean = tf.reduce_mean(luma, axis=[1, 2, 3], keepdims=True)
    other = tf.where(kind == CONTRAST, mean, luma)
    other = tf.where(kind == BRIGHTNESS, 0.0, other)
    blended = tf.clip_by_value(factor * images + (1 - factor) * other, 0.0, 1.0)
    return tf.where(factor == 1.0, images, blended)


def _luma(images):
    return tf.reduce_sum(images * _LUMA, axis=-1, keepdims=True)


def _turn_hue(images, turns):
    hue, saturation, value = tf.unstack(tf.image.rgb_to_hsv(images), axis=-1)
    hue = tf.math.floormod(hue + turns[:, None, None], 1.0)
    turned = tf.image.hsv_to_rgb(tf.stack([hue, saturation, value], axis=-1))
    return tf.where(turns[:, None, None, None] == 0.0, images, turned)


def _blur(images, sigmas, radius):
    """Gaussian blur by two passes of `2 * radius + 1` weighted shifts."""
    distance = tf.range(-radius, radius + 1, dtype=tf.float32)
    sigmas = sigmas[:, None]  # [m, 1]
    weights = tf.exp(-(distance**2) / (2 * tf.maximum(sigmas, 1e-3) ** 2))
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)  # [m, 2r + 1]
    size, channels = images.shape[2:]
    # Pixels of a row and channels as one axis: long enough for wide registers.
    rows = tf.reshape(images, [-1, size, size * channels])
    margin = [radius, radius]
    rows = tf.pad(rows, [[0, 0], margin, [0, 0]], "SYMMETRIC")
    rows = _weighted_shifts(rows, weights, axis=1, stride=1)
    images = tf.reshape(rows, [-1, size, size, channels])
    images = tf.pad(images, [[0, 0], [0, 0], margin, [0, 0]], "SYMMETRIC")
    rows = tf.reshape(images, [-1, size, (size + 2 * radius) * channels])
    rows = _weighted_shifts(rows, weights, axis=2, stride=channels)
    images = tf.reshape(rows, [-1, size, size, channels])
    return tf.minimum(images, 1.0)  # weights sum to 1 except for rounding


def _weighted_shifts(rows, weights, *, axis, stride):
    """Sum over shifts of `weights[:, i]` times `rows` from `i * stride` on.

    Args:
      rows: `[m, ., .]`, padded along `axis`.
      weights: `[m, 2r + 1]`, symmetric.
    """
    last = weights.shape[1] - 1
    extent = [-1, -1, -1]
    extent[axis] = rows.shape[axis] - last * stride

    def shifted(i):
        begin = [0, 0, 0]
        begin[axis] = i * stride
        return tf.slice(rows, begin, extent)

    centre = last // 2
    total = shifted(centre) * weights[:, centre, None, None]
    for i in range(centre):
        pair = shifted(i) + shifted(last - i)
        total += pair * weights[:, i, None, None]
    return total


def _solarise(images, chosen):
    inverted = tf.where(images >= _SOLARISE_FROM, 1 - images, images)
    return tf.where(chosen[:, None, None, None] > 0, inverted, images)
