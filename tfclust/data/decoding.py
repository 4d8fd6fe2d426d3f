"""Encoded images: decoded in a pipeline, and checked once before training.

JPEG, PNG, BMP, GIF (first frame) and still WebP, whatever the file is called;
alpha is dropped. An animated WebP is an error: asked for the file's own number
of channels, TensorFlow 2.21 writes beyond its buffer.

JPEGs can be decoded at a half, a quarter or an eighth of their size: libjpeg
then leaves out high frequencies of the cosine transform, which is quick and
free of aliasing.
"""

import concurrent.futures
import logging
import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust import quiet
from tfclust.data.source import Source

_JPEG_BEGINS = b"\xff\xd8\xff"
_WEBP_FLAGS_AT, _WEBP_MOVES = 20, 2  # place of the byte, and bit in it
_CHUNK = 16  # images a call: enough to hide the call, little memory
_LOG_EVERY = 20_000

logger = logging.getLogger(__name__)


class Checks(NamedTuple):
    """What the check found, a row an image; a reason where it is none."""

    heights: np.ndarray  # int32 [n]
    widths: np.ndarray  # int32 [n]
    jpeg: np.ndarray  # bool [n]
    reasons: np.ndarray  # str [n], empty for good images


def decode(data, ratio=None):
    """uint8 `[H, W, 3]` of encoded bytes, decoded `ratio` times smaller.

    Traceable; the one decoder of training, evaluation and serving.

    Args:
      data: scalar string tensor.
      ratio: scalar int32 tensor, 1, 2, 4 or 8, above 1 for JPEG only; None
        for 1.

    Raises:
      tf.errors.InvalidArgumentError: if it is no whole image, or it moves and
        is no GIF.
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


def check_images(read, count):
    """Decodes every image once, in parallel.

    Args:
      read: function of a position -> bytes; OSError is taken as a reason.
      count: int, positions from 0.

    Returns:
      `Checks`.
    """
    starts = range(0, count, _CHUNK)
    with (
        quiet.without_decoder_lines(),  # each image gets a reason of its own
        concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        parts = []
        chunks = pool.map(
            lambda start: _check_chunk(
                read, range(start, min(start + _CHUNK, count))
            ),
            starts,
        )
        for part in chunks:
            parts.extend(part)
            if len(parts) % _LOG_EVERY < _CHUNK and len(parts) >= _LOG_EVERY:
                logger.info("checked %d of %d images", len(parts), count)
    heights, widths, jpeg, reasons = zip(*parts, strict=True)
    return Checks(
        np.array(heights, np.int32),
        np.array(widths, np.int32),
        np.array(jpeg, bool),
        np.array(reasons, np.str_),
    )


class EncodedSource(Source):
    """A source of encoded images; the kinds fill in `encoded`."""

    def encoded(self, index):
        """The bytes of one image, a scalar string, in a pipeline."""
        raise NotImplementedError

    def image(self, index, ratio=None):
        return decode(self.encoded(index), ratio)


def _decode_any(data):
    def decoded(channels):
        image = tf.io.decode_image(
            data, channels=channels, expand_animations=False
        )
        return tf.ensure_shape(image, [None, None, channels or None])

    # A WebP with alpha is refused if it is asked for three channels.
    return tf.cond(
        _is_still_webp(data),
        lambda: decoded(0)[..., :3],
        lambda: decoded(3),
    )


def _is_still_webp(data):
    """Whether a scalar string begins as a WebP that does not move."""
    # RIFF, 4 bytes of length, WEBP, the first part's name, its length, flags.
    head = tf.strings.substr(data, 0, _WEBP_FLAGS_AT + 1)
    head = tf.io.decode_raw(head, tf.uint8, fixed_length=_WEBP_FLAGS_AT + 1)

    def has(words, begin):
        return tf.reduce_all(head[begin : begin + 4] == list(words))

    moves = has(b"VP8X", 12) & (head[_WEBP_FLAGS_AT] & _WEBP_MOVES > 0)
    return has(b"RIFF", 0) & has(b"WEBP", 8) & ~moves


def _check_chunk(read, positions):
    """(height, width, jpeg, reason) for each position."""
    results, data = {}, {}
    for position in positions:
        try:
            data[position] = read(position)
        except OSError as error:
            results[position] = (0, 0, False, error.strerror or str(error))
    try:
        sizes = _sizes_of(list(data.values())).numpy() if data else []
        good = dict(zip(data, sizes, strict=True))
    except tf.errors.OpError:  # one of them; which one?
        good = {}
        for position, encoded in data.items():
            try:
                good[position] = _sizes_of([encoded]).numpy()[0]
            except tf.errors.OpError:
                results[position] = (0, 0, False, _reason(encoded))
    for position, (height, width) in good.items():
        jpeg = data[position].startswith(_JPEG_BEGINS)
        results[position] = (height, width, jpeg, "")
    return [results[position] for position in positions]


@tf.function(
    input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
)
def _sizes_of(data):
    """int32 `[n, 2]`, height and width; an error if one cannot be decoded."""

    def size_of_jpeg(encoded):
        # An eighth of the size reads the whole stream, at less arithmetic.
        small = tf.io.decode_jpeg(encoded, channels=3, ratio=8)
        # The larger is the image's own; its result must depend on the pixels,
        # for TensorFlow leaves out what is a control dependency alone.
        whole = tf.io.extract_jpeg_shape(encoded)[:2]
        return tf.maximum(whole, tf.shape(small)[:2])

    def size_of(encoded):
        return tf.cond(
            tf.strings.substr(encoded, 0, len(_JPEG_BEGINS)) == _JPEG_BEGINS,
            lambda: size_of_jpeg(encoded),
            lambda: tf.shape(_decode_any(encoded))[:2],
        )

    return tf.map_fn(
        size_of, data, fn_output_signature=tf.TensorSpec([2], tf.int32)
    )


def _reason(encoded):
    if not encoded:
        return "empty"
    if encoded.startswith(_JPEG_BEGINS):
        return "a damaged or truncated JPEG"
    head = encoded[: _WEBP_FLAGS_AT + 1]
    if head[8:16] == b"WEBPVP8X" and head[-1] & _WEBP_MOVES:
        return "an animated WebP"
    return "not a readable JPEG, PNG, BMP, GIF or WebP image"
