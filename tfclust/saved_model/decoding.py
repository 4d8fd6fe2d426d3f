"""Decodes encoded images in a server, and says why bad ones are bad.

An operation that fails ends the whole call, and so all rows of a batch. In a
`tf.data` pipeline it ends only its own element, which `ignore_errors` then
leaves out. Here each element knows its row, so a row that is missing in the end
is a damaged image. (In training, where nobody would notice that an epoch is
shorter, errors are never ignored.) These operations are part of every
TensorFlow runtime, in C++ as in Python.
"""

import functools
from typing import NamedTuple

import tensorflow as tf

from tfclust.data.reading import decoding
from tfclust.data.views.passes import centred
from tfclust.saved_model import still_gif, stored_sizes
from tfclust.saved_model.versions import MAX_PIXELS

OK = "ok"
EMPTY = "empty"
UNKNOWN = "not a JPEG, PNG, GIF, BMP or WebP image"
TOO_LARGE = "too many pixels"
DAMAGED = "damaged"
STATUSES = (OK, EMPTY, UNKNOWN, TOO_LARGE, DAMAGED)


class Decoded(NamedTuple):
    """What `decode` finds, a row per image."""

    images: tf.Tensor  # float32 [B, S, S, 3] in [0, 1]; 0 where there is none
    status: tf.Tensor  # string [B], of `STATUSES`


class Fitted(NamedTuple):
    """What `decode_with` finds, a row per image."""

    images: tf.Tensor  # float32 [B, S, S, 3] in [0, 1]; 0 where there is none
    sizes: tf.Tensor  # int32 [B, 2], height and width as decoded; or 0
    status: tf.Tensor  # string [B], of `STATUSES`


def decode(image_bytes, image_size, resize_size, max_pixels=MAX_PIXELS):
    """Encoded images as the backbone needs them; traceable.

    JPEG, PNG, BMP, GIF (its first frame) and still WebP, grey or coloured, with
    alpha (on white) or without, of any sizes in one batch. TensorFlow decodes
    them here, not Pillow: EXIF orientation is ignored, a BMP with a palette is
    read as grey, and an animated WebP counts as damaged.

    Args:
      image_bytes: string `[B]`.
      image_size: int S, side of the centre crop.
      resize_size: int, the short side before it, resized with antialiasing.
      max_pixels: int, height times width; a larger image is not decoded.

    Returns:
      `Decoded`. No row depends on another.
    """

    def fit(image):
        return centred(image, resize_size, image_size)

    found = decode_with(image_bytes, fit, image_size, max_pixels)
    return Decoded(found.images, found.status)


def decode_with(image_bytes, fit, image_size, max_pixels=MAX_PIXELS):
    """As `decode`, with another way of bringing images to one size.

    Args:
      image_bytes: string `[B]`.
      fit: function of uint8 `[H, W, 3]` -> uint8 `[S, S, 3]`, traceable.
      image_size: int S.
      max_pixels: int, as in `decode`.

    Returns:
      `Fitted`. No row depends on another.
    """
    count = tf.shape(image_bytes, out_type=tf.int64)[0]

    def one(row, encoded):
        return row, *_decoded(encoded, fit, image_size, max_pixels)

    # A row past the end, so that there is one even if all are damaged.
    none = tf.zeros([image_size, image_size, 3], tf.uint8)
    nowhere = tf.zeros([2], tf.int32)
    last = tf.data.Dataset.from_tensors(
        (count, tf.constant(DAMAGED), none, nowhere)
    )
    rows = tf.data.Dataset.from_tensor_slices(image_bytes).enumerate()
    rows = rows.map(
        tf.autograph.experimental.do_not_convert(one),
        num_parallel_calls=tf.data.AUTOTUNE,  # one per thread: see _options
        deterministic=True,
    )
    rows = rows.ignore_errors().concatenate(last).batch(count + 1)
    found, status, images, sizes = rows.with_options(
        _options()
    ).get_single_element()
    # Where each row is among the found ones; damaged ones are at the end.
    places = tf.range(tf.size(found))
    missing = tf.fill([count + 1], tf.size(found) - 1)
    places = tf.tensor_scatter_nd_update(missing, found[:, None], places)
    places = places[:-1]
    # Divided, though `pixels.as_floats` multiplies: so a client that sends
    # pixels / 255 to the signature `images` gets the same bits.
    images = tf.cast(tf.gather(images, places), tf.float32) / 255.0
    return Fitted(images, tf.gather(sizes, places), tf.gather(status, places))


def _decoded(encoded, fit, image_size, max_pixels):
    """Status, uint8 `[S, S, 3]` and size of a scalar string.

    Fails if it is damaged.
    """
    kind, head = stored_sizes.kind_and_head(encoded)
    is_gif = kind == stored_sizes.KINDS.index("GIF")
    is_unknown = kind == stored_sizes.KINDS.index("unknown")

    def stored_as(name):
        if name == "GIF":
            return still_gif.first_frame(encoded)
        nowhere = tf.zeros([4], tf.int64)
        return stored_sizes.pixels(name, encoded, head), encoded, nowhere

    pixels, single, place = tf.switch_case(
        kind,
        [functools.partial(stored_as, name) for name in stored_sizes.KINDS],
    )
    status = tf.where(pixels > max_pixels, TOO_LARGE, OK)
    status = tf.where(is_unknown, UNKNOWN, status)
    status = tf.where(tf.strings.length(encoded) == 0, EMPTY, status)
    image = tf.switch_case(
        tf.where(status == OK, tf.where(is_gif, 2, 1), 0),
        [
            lambda: tf.zeros([image_size, image_size, 3], tf.uint8),
            lambda: decoding.decode(single),
            lambda: still_gif.on_screen(single, place),
        ],
    )
    image = tf.ensure_shape(image, [None, None, 3])
    size = tf.where(status == OK, tf.shape(image)[:2], 0)
    return status, fit(image), size


def _options():
    """Options without autotuning and without rewriting the pipeline.

    A map with `AUTOTUNE` but without autotuning works on one element per
    thread, at most 16: as many as the server has, not the exporting machine.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return options
