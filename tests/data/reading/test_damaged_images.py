"""Damaged image files: what the check takes, every later reader takes too.

Files of every kind, some bytes of which are changed, lost, doubled or zero.
"""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfclust.data.reading import checking, decoding
from tfclust.data.sources.base import Manifest
from tfclust.data.sources.encoded import EncodedSource
from tfclust.runtime import parallel

COARSE = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
PICTURE = Image.fromarray(COARSE).resize((22, 17), Image.Resampling.BICUBIC)
PALETTE = PICTURE.quantize(32)
GREY = PICTURE.convert("L")
MOVING = {"save_all": True, "append_images": [PICTURE.rotate(180)]}


def with_alpha():
    image = PICTURE.convert("RGBA")
    image.putalpha(GREY)
    return image


def turned(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    return {"exif": exif}


KINDS = [
    (PICTURE, "JPEG", {}),
    (PICTURE, "JPEG", {"progressive": True, **turned(6)}),
    (GREY, "JPEG", {}),
    (PICTURE.convert("CMYK"), "JPEG", {}),
    (PICTURE, "PNG", turned(3)),
    (PALETTE, "PNG", {"transparency": 3}),
    (with_alpha(), "PNG", {}),
    (PICTURE, "PNG", {"transparency": PICTURE.getpixel((3, 4))}),
    (PALETTE, "GIF", {}),
    (PICTURE, "GIF", MOVING),
    (PICTURE, "BMP", {}),
    (GREY, "BMP", {}),
    (PICTURE.convert("1"), "BMP", {}),
    (PICTURE, "WEBP", {}),
    (PICTURE, "WEBP", {"lossless": True, **turned(8)}),
    (with_alpha(), "WEBP", {}),
    (PICTURE, "WEBP", MOVING),
]
# In `files`: a BMP of 8 bits and a moving WebP with zeros at their end.
PILLOWS_WITH_ZEROS = (len(KINDS) + 11, len(KINDS) + 16)


def stored(image, kind, how):
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def damaged(whole, rng):
    """`whole` with one to three faults, most of them among its first bytes."""
    found = bytearray(whole)
    for _ in range(rng.integers(1, 4)):
        end = min(len(found), 64) if rng.random() < 0.5 else len(found)
        place = int(rng.integers(end))
        length = int(rng.integers(1, 9))
        fault = rng.integers(7)
        if fault == 0:
            found[place] ^= 1 << rng.integers(8)
        elif fault == 1:
            found[place] = rng.integers(256)
        elif fault == 2:
            del found[place : place + length]
        elif fault == 3:
            found[place:place] = found[place : place + length]
        elif fault == 4:
            del found[int(rng.integers(len(found) // 2, len(found))) :]
        elif fault == 5:
            found[-length:] = bytes(length)
        else:
            found += bytes(length)
        if len(found) < 2:
            break
    return bytes(found)


def files(count, seed):
    """All kinds undamaged, with zeros at their end, and `count` damaged."""
    wholes = [stored(*kind) for kind in KINDS]
    rng = np.random.default_rng(seed)
    return [
        *wholes,
        *(whole + bytes(3) for whole in wholes),
        *(damaged(wholes[i % len(wholes)], rng) for i in range(count)),
    ]


class Listed(EncodedSource):
    """Encoded images of a list."""

    def __init__(self, encoded, checks):
        names = [str(i) for i in range(len(encoded))]
        sizes = list(map(len, encoded))
        manifest = Manifest.of_checked(names, sizes, checks)
        super().__init__("listed:", manifest, checks)
        self._encoded = encoded

    def read(self, position):
        return self._encoded[position], True


def check_that_all_readers_take_what_the_check_takes(count, seed):
    given = files(count, seed)
    checks = checking.check_images(given.__getitem__, len(given))
    good = np.flatnonzero(checks.reasons == "")
    assert {*range(len(KINDS)), *PILLOWS_WITH_ZEROS} <= {*good.tolist()}
    assert 0.1 < np.mean(checks.reasons == "") < 0.9
    encoded, checks = [given[i] for i in good], checks.rows(good)
    source = Listed(encoded, checks)
    indices = tf.data.Dataset.range(len(good))
    found = list(parallel.map_images(indices, source.image))
    assert len(found) == len(good)
    for i, image in enumerate(found):
        note = f"seed {seed}, file {good[i]}: {encoded[i][:40]}"
        sides = checks.heights[i], checks.widths[i]
        assert image.shape[:2] == sides, note
        by = decoding.decode_by_pillow if checks.careful[i] else decoding.decode
        expected = decoding.upright(by(encoded[i]), checks.orientations[i])
        np.testing.assert_array_equal(image, expected, err_msg=note)
        for ratio in (2, 4, 8) if checks.jpeg[i] else ():
            smaller = source.image(tf.constant(i), tf.constant(ratio))
            wanted = tuple(-(-side // ratio) for side in sides)
            assert smaller.shape[:2] == wanted, note


def test_what_the_check_takes_every_reader_takes():
    check_that_all_readers_take_what_the_check_takes(300, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
def test_what_the_check_takes_of_many_every_reader_takes(seed):
    check_that_all_readers_take_what_the_check_takes(1000, seed)
