"""Every kind of image file: read as people see it, or left out by a reason."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tests.support.processes import run_in_subprocess
from tfclust import data
from tfclust.data.reading import checking, headers

RNG = np.random.default_rng(0)
COARSE = RNG.integers(0, 256, (5, 6, 3), np.uint8)
PICTURE = Image.fromarray(COARSE).resize((36, 28), Image.BICUBIC)
OTHER = ImageOps.invert(PICTURE)
PALETTE = PICTURE.convert("P", palette=Image.ADAPTIVE)
GREY16 = (np.arange(28 * 36, dtype=np.uint16) * 65).reshape(28, 36)


def stored(image, kind, **how):
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def with_alpha():
    image = PICTURE.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def turned(orientation, kind="JPEG", **how):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return stored(PICTURE, kind, exif=exif, **how)


def moving(kind, **how):
    return stored(PICTURE, kind, save_all=True, append_images=[OTHER], **how)


def png_chunk(name, body):
    check = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + check


def png(width, height, bits, colour, rows):
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", head)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def rgb16():
    """16 bits a channel, which Pillow does not write."""
    values = (np.asarray(PICTURE).astype(int) * 256 + 200).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    return png(36, 28, 16, 2, rows)


def top_down_bmp():
    """A BMP whose first row is the upper one."""
    whole = bytearray(stored(PICTURE, "BMP"))
    (begin,) = struct.unpack_from("<I", whole, 10)
    rows = np.frombuffer(whole[begin:], np.uint8).reshape(28, -1)
    struct.pack_into("<i", whole, 22, -28)
    return bytes(whole[:begin]) + rows[::-1].tobytes()


def seen(encoded):
    """How Pillow shows an image: upright, on white; int `[H, W, 3]`."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded)))
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(int) >> 8
        return np.repeat(grey[..., None], 3, axis=-1)
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    shown = Image.alpha_composite(white, image).convert("RGB")
    return np.asarray(shown).astype(int)


# Kind -> (bytes, grey levels that TensorFlow and Pillow may differ by on
# average: their JPEG decoders enlarge colour differently, and round differently
# where alpha is mixed).
EXACT, MIXED, LOSSY = 0.0, 0.6, 3.0
READ = {
    "a JPEG": (stored(PICTURE, "JPEG"), LOSSY),
    "a progressive JPEG": (stored(PICTURE, "JPEG", progressive=True), LOSSY),
    "a grey JPEG": (stored(PICTURE.convert("L"), "JPEG"), LOSSY),
    "a CMYK JPEG": (stored(PICTURE.convert("CMYK"), "JPEG"), LOSSY),
    **{
        f"a JPEG turned by EXIF {turn}": (turned(turn), LOSSY)
        for turn in range(1, 9)
    },
    "a PNG turned by EXIF": (turned(6, "PNG"), EXACT),
    "a WebP turned by EXIF": (turned(8, "WEBP", lossless=True), EXACT),
    "a PNG": (stored(PICTURE, "PNG"), EXACT),
    "a grey PNG": (stored(PICTURE.convert("L"), "PNG"), EXACT),
    "a PNG of 1 bit": (stored(PICTURE.convert("1"), "PNG"), EXACT),
    "a grey PNG of 16 bits": (stored(Image.fromarray(GREY16), "PNG"), EXACT),
    "a PNG of 3 x 16 bits": (rgb16(), EXACT),
    "a PNG with alpha": (stored(with_alpha(), "PNG"), MIXED),
    "a grey PNG with alpha": (stored(with_alpha().convert("LA"), "PNG"), MIXED),
    "a palette PNG": (stored(PALETTE, "PNG"), EXACT),
    "a palette PNG with a transparent colour": (
        stored(PALETTE, "PNG", transparency=3),
        EXACT,
    ),
    "a palette PNG with alphas": (
        stored(PALETTE, "PNG", transparency=bytes(range(0, 250, 2))),
        MIXED,
    ),
    "a PNG with a transparent colour": (
        stored(PICTURE, "PNG", transparency=PICTURE.getpixel((3, 4))),
        EXACT,
    ),
    "a moving PNG": (moving("PNG"), EXACT),
    "a GIF": (stored(PALETTE, "GIF"), EXACT),
    "a GIF with a transparent colour": (
        stored(PALETTE, "GIF", transparency=5),
        EXACT,
    ),
    "a moving GIF": (moving("GIF"), EXACT),
    "a BMP": (stored(PICTURE, "BMP"), EXACT),
    "a palette BMP": (stored(PALETTE, "BMP"), EXACT),
    "a grey BMP": (stored(PICTURE.convert("L"), "BMP"), EXACT),
    "a BMP of 1 bit": (stored(PICTURE.convert("1"), "BMP"), EXACT),
    "a BMP with alpha": (stored(with_alpha(), "BMP"), EXACT),
    "a BMP from the top down": (top_down_bmp(), EXACT),
    "a WebP": (stored(PICTURE, "WEBP"), LOSSY),
    "a WebP without loss": (stored(PICTURE, "WEBP", lossless=True), EXACT),
    "a WebP with alpha": (stored(with_alpha(), "WEBP", lossless=True), MIXED),
    "a moving WebP": (moving("WEBP", lossless=True), EXACT),
    "one pixel, JPEG": (stored(PICTURE.resize((1, 1)), "JPEG"), LOSSY),
    "one pixel, PNG": (stored(PICTURE.resize((1, 1)), "PNG"), EXACT),
    "one pixel, GIF": (stored(PICTURE.resize((1, 1)), "GIF"), EXACT),
    "a line of 5,000": (stored(PICTURE.resize((5000, 1)), "PNG"), EXACT),
    "a column of 5,000": (stored(PICTURE.resize((1, 5000)), "JPEG"), LOSSY),
}


@pytest.mark.parametrize("kind", READ)
def test_images_of_every_kind_are_read_as_people_see_them(tmp_path, kind):
    encoded, tolerance = READ[kind]
    (tmp_path / "image.png").write_bytes(encoded)  # whatever it is called
    source = data.open_source(f"folder:{tmp_path}")
    expected = seen(encoded)
    assert (source.heights[0], source.widths[0]) == expected.shape[:2]
    found = source.image(tf.constant(0, tf.int64)).numpy().astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() <= tolerance


def cut(encoded, share=0.6):
    return encoded[: int(len(encoded) * share)]


def vast(encoded):
    """The same JPEG, whose frame claims 65,000 pixels a side."""
    begin = encoded.index(b"\xff\xc0") + 5
    return (
        encoded[:begin]
        + struct.pack(">HH", 65000, 65000)
        + encoded[begin + 4 :]
    )


UNREADABLE = {
    "a truncated JPEG": (cut(READ["a JPEG"][0]), "truncated JPEG"),
    "a JPEG without its end": (READ["a JPEG"][0][:-2], "truncated JPEG"),
    "a truncated PNG": (cut(READ["a PNG"][0]), "truncated PNG"),
    "a truncated GIF": (cut(READ["a GIF"][0]), "truncated GIF"),
    "a truncated BMP": (cut(READ["a BMP"][0]), "truncated BMP"),
    "a truncated palette BMP": (cut(READ["a palette BMP"][0]), "truncated BMP"),
    "a truncated WebP": (cut(READ["a WebP"][0]), "truncated WebP"),
    "a truncated moving WebP": (
        cut(READ["a moving WebP"][0], 0.3),
        "truncated WebP",
    ),
    "a JPEG's first bytes": (READ["a JPEG"][0][:5], "truncated JPEG"),
    "an empty file": (b"", "empty"),
    "words under an image's name": (b"no image at all", "not a readable"),
    "a PNG bomb": (png(60000, 60000, 8, 2, b"\0"), "decompression bomb"),
    "a JPEG bomb": (vast(READ["a JPEG"][0]), "decompression bomb"),
    "a GIF bomb": (
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(30),
        "decompression bomb",
    ),
    "a PNG without pixels": (png(0, 7, 8, 2, b"\0"), "no pixels"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_unreadable_files_are_left_out_with_a_reason(tmp_path, kind):
    encoded, reason = UNREADABLE[kind]
    (tmp_path / "bad.jpg").write_bytes(encoded)
    (tmp_path / "good.png").write_bytes(READ["a PNG"][0])
    source = data.open_source(f"folder:{tmp_path}", max_bad_share=0.5)
    assert source.manifest().names == ["good.png"]
    ((name, told),) = source.skipped
    assert name == "bad.jpg" and reason in told


def put(path, kind="a PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(READ[kind][0])


LONG = "ä" * 125 + ".png"  # 254 bytes; 255 is the most
NAMED = {
    "a Unicode name": (["Bär 🐻 图.png"], ["Bär 🐻 图.png"]),
    "a name with signs": (["a b%20#?&'\"\\.png"], ["a b%20#?&'\"\\.png"]),
    "a very long name": ([LONG], [LONG]),
    "deep folders": (["a/b/c/d/e/f/g/h.png"], ["a/b/c/d/e/f/g/h.png"]),
    "duplicates": (["a.png", "b.png"], ["a.png", "b.png"]),
    "capital endings": (["A.PNG", "b.JPeG"], ["A.PNG", "b.JPeG"]),
    "a hidden file": ([".a.png", "b.png"], ["b.png"]),
    "a hidden folder": ([".thumbs/a.png", "b.png"], ["b.png"]),
    "other files": (["a.txt", "b.png", "c"], ["b.png"]),
}


@pytest.mark.parametrize("kind", NAMED)
def test_files_are_found_whatever_they_are_called(tmp_path, kind):
    names, expected = NAMED[kind]
    for name in names:
        put(tmp_path / name)
    source = data.open_source(f"folder:{tmp_path}")
    assert source.manifest().names == expected
    for index in range(len(expected)):
        image = source.image(tf.constant(index, tf.int64))
        np.testing.assert_array_equal(image, PICTURE)


def test_images_by_another_ending_are_listed_and_other_files_are_not(tmp_path):
    for name in ("a.png", "b.txt", "set/c"):
        put(tmp_path / name)
    put(tmp_path / "d.photo", "a JPEG")
    (tmp_path / "labels.csv").write_text("BM, a.png\n")
    (tmp_path / "empty").touch()
    source = data.open_source(f"folder:{tmp_path}", max_bad_share=0)
    assert source.manifest().names == ["a.png"]
    assert source.skipped == [
        ("b.txt", "a PNG with another file extension"),
        ("d.photo", "a JPEG with another file extension"),
        ("set/c", "a PNG with another file extension"),
    ]


def test_folders_that_cannot_be_opened_are_listed(tmp_path, monkeypatch):
    """Patched, for root may open all."""
    put(tmp_path / "set/a.png")
    put(tmp_path / "closed/b.png")
    scandir = os.scandir

    def refusing(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, os.strerror(13), os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    source = data.open_source(f"folder:{tmp_path}")
    assert source.manifest().names == ["set/a.png"]
    assert source.skipped == [("closed/", os.strerror(13))]
    (tmp_path / "set/a.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 folders that cannot be"):
        data.open_source(f"folder:{tmp_path}")


def test_links_are_followed_and_looping_ones_left_out(tmp_path):
    put(tmp_path / "set/a.png")
    put(tmp_path / "elsewhere/b.png")
    (tmp_path / "set/link.png").symlink_to(tmp_path / "elsewhere/b.png")
    (tmp_path / "set/one.png").symlink_to("other.png")
    (tmp_path / "set/other.png").symlink_to("one.png")
    (tmp_path / "set/round").symlink_to(tmp_path / "set")
    source = data.open_source(f"folder:{tmp_path}/set", max_bad_share=0.5)
    assert source.manifest().names == ["a.png", "link.png"]
    reason = os.strerror(40)  # ELOOP
    assert source.skipped == [
        ("one.png", reason),
        ("other.png", reason),
        ("round/", "a link to a folder that has been read already"),
    ]


@pytest.mark.parametrize(
    "error",
    [PermissionError(13, "Permission denied"), FileNotFoundError(2, "No such")],
    ids=["no permission", "vanished since the scan"],
)
def test_files_that_cannot_be_opened_are_left_out(tmp_path, monkeypatch, error):
    put(tmp_path / "a.png")
    put(tmp_path / "b.png")
    real = os.open

    def refused(path, *rest):
        if os.fspath(path).endswith("b.png"):
            raise error
        return real(path, *rest)

    monkeypatch.setattr(os, "open", refused)
    source = data.open_source(f"folder:{tmp_path}", max_bad_share=0.5)
    assert source.skipped == [("b.png", error.strerror)]


# 10,000 x 10,000 pixels, as a JPEG and as a PNG. A decoded one has 286 MiB.
HUGE = """
import resource, numpy as np
import tensorflow as tf
from PIL import Image
from tfclust import data
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
small = data.ArraySource(np.zeros((4, 40, 40, 3), np.uint8))
def work(source):
    views = data.Views(source, batch_size=2, view_sizes=(64,), num_views=(2,))
    for _ in views.batches(epoch=0):
        pass
    for _ in data.evaluation_batches(source, image_size=64, batch_size=2):
        pass
work(small)
before = peak()
source = data.open_source({folder!r})
assert source.num_images == 2 and source.heights.min() == 10_000
checked = peak()
work(source)
print(checked - before, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_megapixels_are_read_within_a_bound_of_memory(tmp_path):
    huge = Image.new("RGB", (10_000, 10_000), (90, 20, 160))
    huge.save(tmp_path / "a.jpg", quality=50)
    # Of two sizes: images of one size are kept, up to 1 GiB of them.
    huge = huge.crop((0, 0, 10_001, 10_000))
    huge.save(tmp_path / "b.png", compress_level=1)
    huge.close()
    told = run_in_subprocess(
        HUGE.format(folder=f"folder:{tmp_path}"), timeout=600
    )
    check, views = map(float, told.split()[-2:])
    # One decoded image in the check; in a pass one a core, here two.
    assert check < 500
    assert views < 1000


def test_the_limit_of_pixels_is_pillows():
    assert checking.MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("kind", READ)
def test_headers_that_end_anywhere_are_no_header_or_the_whole_ones(kind):
    encoded, _ = READ[kind]
    whole = headers.read_header(encoded)
    for end in range(0, len(encoded), 1 + len(encoded) // 97):
        found = headers.read_header(encoded[:end])
        assert found is None or found[:3] == whole[:3]
