"""Encoded images to pixels, as people see them: upright, on white, RGB.

JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF and HEIC, whatever the file is called; of
what moves or has pages, the first. TensorFlow decodes what is common. What it
reads otherwise than people do (`headers`) the check before step 0 finds, and
Pillow decodes it in sources; a served model has TensorFlow alone, which knows
no TIFF, AVIF and HEIC, drops a GIF's transparency and refuses a moving WebP:
asked for the file's own number of channels, TensorFlow 2.21 writes beyond its
buffer there.

JPEGs can be decoded at a half, a quarter or an eighth of their size: libjpeg
then leaves out high frequencies of the cosine transform, which is fast and free
of aliasing.
"""

import functools
import importlib.util
import io

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

_PNG_BEGINS = b"\x89PNG"
_WEBP_FLAGS_AT, _WEBP_MOVES = 20, 2  # place of the byte, and bit in it
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "AVIF")
_TURNED_BY_PILLOW = ("TIFF", "AVIF", "HEIF")
_WHITE = 255
NEEDS_HEIC = "install tfclust[photos] to read it"


class NoPicture(ValueError):
    """A file that Pillow opens and people would not see; says why."""


def reads_heic():
    """Whether HEIC can be decoded here: the extra `photos` is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


@functools.cache
def formats():
    """What Pillow is asked to decode, by its own names."""
    if not reads_heic():
        return _FORMATS
    import pillow_heif

    pillow_heif.register_heif_opener()
    return (*_FORMATS, "HEIF")


def decode(data, ratio=None):
    """uint8 `[H, W, 3]` from encoded bytes, decoded `ratio` times smaller.

    Traceable; pixels as they are stored, whatever EXIF says about their turn.

    Args:
      data: scalar string tensor.
      ratio: scalar int32 tensor, 1, 2, 4 or 8, above 1 for JPEG only; None
        for 1.

    Raises:
      tf.errors.InvalidArgumentError: if it is not a complete image, or it is
      animated and not a GIF.
    """
    if ratio is None:
        return _decode_any(data)

    def smaller(by):
        return lambda: tf.io.decode_jpeg(data, channels=3, ratio=by)

    # log2 of 1, 2, 4, 8 by comparisons
    branch = tf.reduce_sum(tf.cast(ratio >= [2, 4, 8], tf.int32))
    return tf.switch_case(
        branch, [lambda: _decode_any(data), smaller(2), smaller(4), smaller(8)]
    )


def decode_checked(data, ratio, orientation, careful):
    """uint8 `[H, W, 3]`, upright, from bytes that the check found good.

    Args:
      data: scalar string tensor. ratio: as in `decode`.
      orientation: scalar int32 tensor, EXIF's, 1 to 8.
      careful: scalar bool tensor, whether Pillow must decode it.
    """

    def bytes_by_pillow(data):
        # Bytes in a pipeline, an array of them in eager mode. NumPy's own bytes
        # type would lose the zeros at their end.
        return decode_by_pillow(data if type(data) is bytes else data.item())

    def by_pillow():
        # A stateful function would be called by one thread at a time.
        image = tf.numpy_function(
            bytes_by_pillow,
            [data],
            tf.uint8,
            stateful=False,
        )
        return tf.ensure_shape(image, [None, None, 3])

    image = tf.cond(careful, by_pillow, lambda: decode(data, ratio))
    return upright(image, orientation)


def decode_by_pillow(data):
    """uint8 array `[H, W, 3]` from encoded bytes, as they are stored.

    TIFF, AVIF and HEIC are turned upright: in these, other things than EXIF
    may ask for it.

    Raises:
      Exception: of many classes, if it is not a complete image.
    """
    with Image.open(io.BytesIO(data), formats=formats()) as file:
        image: Image.Image = file
        if file.format in _TURNED_BY_PILLOW:
            image = ImageOps.exif_transpose(image)
        if image.mode in ("I", "F") and file.format == "TIFF":
            raise NoPicture(
                "a TIFF of 32-bit numbers, whose black and white "
                "nobody knows; write it with 8 or 16 bits"
            )
        if image.mode.startswith("I"):  # 16 bits of grey; Pillow would clip
            grey = np.asarray(image) >> 8
            return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return np.array(image.convert("RGB"))


def upright(image, orientation):
    """`image` `[H, W, 3]` turned as EXIF's `orientation`, 1 to 8, asks."""

    def exchange():
        # Each column is a batch of its own. Without AVX-512, oneDNN complains
        # about a transpose of uint8.
        columns = [1, tf.shape(image)[1]]
        exchanged = tf.space_to_batch(image[None], columns, [[0, 0], [0, 0]])
        return exchanged[:, :, 0]

    def turned():
        aside = orientation >= 5
        exchanged = tf.cond(aside, exchange, lambda: image)
        # After the exchange: which orientations mirror rows, which columns.
        columns = tf.reduce_any(orientation == [2, 3, 6, 7])
        rows = tf.reduce_any(orientation == [3, 4, 7, 8])
        return tf.raw_ops.Reverse(
            tensor=exchanged, dims=tf.stack([rows, columns, False])
        )

    image = tf.cond(orientation > 1, turned, lambda: image)
    return tf.ensure_shape(image, [None, None, 3])


def _decode_any(data):
    def with_alpha():
        # A WebP with alpha is refused if it is asked for three channels.
        image = tf.io.decode_image(data, channels=0, expand_animations=False)
        return _on_white(tf.ensure_shape(image, [None, None, None]))

    def without():
        image = tf.io.decode_image(data, channels=3, expand_animations=False)
        return tf.ensure_shape(image, [None, None, 3])

    may_have_alpha = _is_still_webp(data) | (
        tf.strings.substr(data, 0, len(_PNG_BEGINS)) == _PNG_BEGINS
    )
    return tf.cond(may_have_alpha, with_alpha, without)


def _on_white(image):
    """uint8 `[H, W, 3]` from grey or RGB, with or without alpha."""
    channels = tf.shape(image)[-1]

    def mixed():
        # 255 * 255 + 127 stays below 2^16: half the memory of int32.
        colour = tf.cast(image[..., :-1], tf.uint16)
        alpha = tf.cast(image[..., -1:], tf.uint16)
        sums = colour * alpha + _WHITE * (_WHITE - alpha) + _WHITE // 2
        return tf.cast(sums // _WHITE, tf.uint8)

    def in_rgb():
        flat = tf.cond(channels % 2 == 0, mixed, lambda: image)
        return tf.broadcast_to(flat, [*tf.unstack(tf.shape(flat)[:2]), 3])

    image = tf.cond(channels == 3, lambda: image, in_rgb)
    return tf.ensure_shape(image, [None, None, 3])


def _is_still_webp(data):
    """Whether a scalar string starts as a WebP that is not animated."""
    # RIFF, 4 bytes of length, WEBP, the first part's name, its length, flags.
    head = tf.strings.substr(data, 0, _WEBP_FLAGS_AT + 1)
    head = tf.io.decode_raw(head, tf.uint8, fixed_length=_WEBP_FLAGS_AT + 1)

    def has(words, begin):
        return tf.reduce_all(head[begin : begin + 4] == list(words))

    moves = has(b"VP8X", 12) & (head[_WEBP_FLAGS_AT] & _WEBP_MOVES > 0)
    return has(b"RIFF", 0) & has(b"WEBP", 8) & ~moves
