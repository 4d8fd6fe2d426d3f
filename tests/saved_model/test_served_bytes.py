"""Encoded images in a server: decoded, or told what is wrong with them."""

import io
import resource
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.reading.test_damaged_images import KINDS, files, stored
from tfclust import saved_model
from tfclust.data.reading import decoding
from tfclust.data.views.passes import centred

SIZE, RESIZED, MOST = 16, 20, 10**5
PICTURE = KINDS[0][0]
NOT_TENSORFLOWS = (12, 16)  # a BMP of 1 bit, a moving WebP


@pytest.fixture(scope="module")
def served():
    """`decode` as a traced function of a list of bytes, to NumPy."""

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
    )
    def decode(image_bytes):
        return saved_model.decode(image_bytes, SIZE, RESIZED, MOST)

    def call(encoded):
        images, status = decode(tf.constant(encoded))
        return images.numpy(), [word.decode() for word in status.numpy()]

    return call


def is_shown(images, pixels):
    """Whether floats are the centre of uint8 `[H, W, 3]`, divided by 255."""
    crop = centred(pixels, RESIZED, SIZE).numpy()
    np.testing.assert_allclose(images, crop / 255, rtol=1e-6)  # its last bits
    return True


def test_good_images_are_those_of_the_pipeline_to_the_bit(served):
    wholes = [stored(*kind) for kind in KINDS]
    images, status = served(wholes)
    for i, (_, kind, _) in enumerate(KINDS):
        assert status[i] == ("damaged" if i in NOT_TENSORFLOWS else "ok")
        if status[i] == "ok" and kind != "GIF":
            assert is_shown(images[i], decoding.decode(wholes[i]))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_the_bound_of_pixels_is_that_of_height_times_width(served, kind):
    modes = [{}, {"lossless": True}, {"exif": b"Exif\0\0"}]
    for how in modes if kind == "WEBP" else [{}]:
        sizes = [(250, 400), (401, 250), (250, 401), (1, MOST)]
        encoded = [stored(Image.new("RGB", s), kind, how) for s in sizes[:3]]
        _, status = served(encoded)
        assert status == ["ok", "too many pixels", "too many pixels"]


def gif(frames, screen=(30, 20), before=b"", after=b"\x3b"):
    """A GIF of (left, top, image of a palette) with odd parts."""
    found = b"GIF89a" + struct.pack("<HHBBB", *screen, 0, 0, 0) + before
    for left, top, image in frames:
        whole = stored(image, "GIF", {})
        colours = 3 * 2 ** ((whole[10] & 7) + 1)
        palette = whole[13 : 13 + colours]
        begin = whole.index(b"\x2c", 13 + colours)
        flags = 0x80 | whole[10] & 7
        place = struct.pack("<HHHHB", left, top, *image.size, flags)
        found += b"\x2c" + place + palette + whole[begin + 10 : -1]
    return found + after


@pytest.mark.parametrize("place", [(0, 0), (7, 3), (25, 18)])
def test_a_gifs_first_frame_stands_where_people_see_it(served, place):
    """The last one leaves the screen, which then grows."""
    palette = PICTURE.convert("RGB").quantize(16, dither=0)
    comment = b"\x21\xfe" + b"\xff" * 256 + b"\x05hello\0"
    encoded = gif([(*place, palette), (0, 0, palette)], before=comment * 3)
    left, top = place
    alone = gif([(0, 0, palette)], screen=palette.size)
    pixels = decoding.decode_by_pillow(alone)
    right, below = max(0, 30 - left - 22), max(0, 20 - top - 17)
    screen = np.pad(
        pixels, [(top, below), (left, right), (0, 0)], constant_values=255
    )
    images, status = served([encoded])
    assert status == ["ok"]
    assert images[0].min() < 0.9
    assert is_shown(images[0], screen)


def test_a_gif_is_bounded_and_later_frames_are_not_unpacked(served):
    palette = PICTURE.quantize(16)
    whole = gif([(0, 0, palette)], after=b"")
    vast = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02"
    encoded = [
        whole + vast + b"\x01\x44\0\x3b",
        gif([(0, 0, palette)], screen=(1000, 101)),
        gif([(0, 60000, palette)]),
        whole[:-9],  # ends within the frame
        whole[:40],
        gif([], before=b"\x21\xfe\0" * 200),
    ]
    _, status = served(encoded)
    assert status == ["ok", *["too many pixels"] * 2, *["damaged"] * 3]


def test_damaged_files_never_end_the_call_or_touch_other_rows(served):
    given = files(250, seed=11)
    wholes = given[: len(KINDS)]
    images, status = served(given)
    alone, told = served(wholes)
    assert set(status) <= set(saved_model.STATUSES)
    assert status[: len(KINDS)] == told
    np.testing.assert_array_equal(images[: len(KINDS)], alone)
    good = np.array([word == "ok" for word in status])
    assert 0.2 < good.mean() < 0.9
    assert not images[~good].any()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 24))
def test_thousands_of_damaged_files_never_end_a_call(served, seed):
    _, status = served(files(3000, seed))
    assert set(status) <= set(saved_model.STATUSES)


def test_a_line_of_thousands_of_pixels_takes_little_memory(served):
    sizes = [(4000, 1), (1, 4000), (20_000, 1)]
    encoded = [stored(Image.new("RGB", s, "red"), "PNG", {}) for s in sizes]
    served(encoded[:1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    images, _ = served(encoded)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100 << 10  # KiB; whole, they would take 0.4 GB and more
    np.testing.assert_array_equal(images[..., 0], 1)


def test_bytes_of_no_image_are_told_apart(served):
    buffer = io.BytesIO()
    PICTURE.save(buffer, "TIFF")
    encoded = [b"", b"RIFF", b"hello", b"\xff\xd8\xff", b"BM", b"\0" * 50]
    _, status = served([*encoded, buffer.getvalue()])
    unknown = saved_model.STATUSES[2]
    assert status == [
        "empty",
        *[unknown] * 2,
        *["damaged"] * 2,
        *[unknown] * 2,
    ]
