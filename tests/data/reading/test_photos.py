"""What cameras and scanners write: TIFF, AVIF and HEIC, large and turned."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.support.image_files import picture, pixels, write
from tfclust import data
from tfclust.data.reading import decoding
from tfclust.data.reading.headers import read_header
from tfclust.data.sources.folder import FolderSource

TURN = 0x0112


def smooth(height=40, width=60):
    """A picture that survives lossy coding: two slopes and a corner."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack(
        [rows * 255 / height, columns * 255 / width, 0 * rows], axis=-1
    )
    image[: height // 4, : width // 4] = 255
    return np.uint8(image)


def stored(kind, image=None, **how):
    file = io.BytesIO()
    image = smooth() if image is None else image
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(file, kind, **how)
    return file.getvalue()


def turned(kind):
    """A file whose orientation asks for a quarter turn."""
    if kind == "TIFF":
        return stored(kind, tiffinfo={TURN: 6})
    exif = Image.Exif()
    exif[TURN] = 6
    return stored(kind, exif=exif)


def read(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    source = FolderSource(tmp_path)
    (image,) = pixels(source)
    assert (source.heights[0], source.widths[0]) == image.shape[:2]
    return image


@pytest.fixture
def heic():
    pytest.importorskip("pillow_heif")
    decoding.formats()  # registers it with Pillow


TIFFS = {
    "plain": stored("TIFF"),
    "LZW": stored("TIFF", compression="tiff_lzw"),
    "CMYK": stored("TIFF", Image.fromarray(smooth()).convert("CMYK")),
    "grey": stored("TIFF", Image.fromarray(smooth()).convert("L")),
    "16 bits": stored("TIFF", np.uint16(smooth()[..., 0]) << 8),
    "two pages": stored(
        "TIFF",
        save_all=True,
        append_images=[Image.new("RGB", (9, 9))],
    ),
}


@pytest.mark.parametrize("name", TIFFS)
def test_tiffs_are_read_as_pillow_shows_them(name, tmp_path):
    image = read(tmp_path, "scan.TIF", TIFFS[name])
    grey = name in ("grey", "16 bits")
    if name == "16 bits":
        expected = np.repeat(smooth()[..., :1], 3, axis=-1)
    else:
        expected = Image.open(io.BytesIO(TIFFS[name])).convert("RGB")
    np.testing.assert_array_equal(image, expected)
    assert grey == (image[..., 0] == image[..., 2]).all()


def test_avif_is_read_within_its_loss(tmp_path):
    image = read(tmp_path, "photo.avif", stored("AVIF", quality=95))
    assert np.abs(image - np.float32(smooth())).mean() < 4


def test_heic_is_read_within_its_loss(tmp_path, heic):
    image = read(tmp_path, "photo.HEIC", stored("HEIF", quality=95))
    assert np.abs(image - np.float32(smooth())).mean() < 4


@pytest.mark.parametrize("kind", ["TIFF", "AVIF"])
def test_a_quarter_turn_is_made(kind, tmp_path):
    content = turned(kind)
    image = read(tmp_path, f"photo.{kind.lower()}", content)
    assert image.shape == (60, 40, 3)
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(image, shown.convert("RGB"))


def test_sizes_are_known_before_pixels(heic):
    for kind, name in (("TIFF", "TIFF"), ("AVIF", "AVIF"), ("HEIF", "HEIC")):
        header = read_header(stored(kind))
        assert header.kind == name and header.careful
        # A HEIC is padded to whole blocks.
        assert header.height >= 40 and header.width >= 60


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "HEIF"])
def test_cut_files_are_left_out_by_name(kind, tmp_path, heic):
    content = stored(kind, picture(64, 64))
    ending = {"TIFF": "tif", "AVIF": "avif", "HEIF": "heic"}[kind]
    for share in (0.02, 0.3, 0.9):
        cut = content[: int(len(content) * share)]
        (tmp_path / f"cut{share}.{ending}").write_bytes(cut)
    write(tmp_path, "good.png")
    source = FolderSource(tmp_path, max_bad_share=1.0)
    assert source.num_images == 1 and len(source.skipped) == 3
    for _, reason in source.skipped:
        assert "damaged or truncated" in reason or "not a readable" in reason


def test_a_tiff_of_floats_is_left_out_with_the_reason(tmp_path):
    image = Image.fromarray(np.float32(smooth()[..., 0]))
    (tmp_path / "depth.tif").write_bytes(stored("TIFF", image))
    write(tmp_path, "good.png")
    source = FolderSource(tmp_path, max_bad_share=1.0)
    assert "32-bit numbers" in source.skipped[0][1]


def test_heic_that_cannot_be_read_is_counted_with_the_way_out(
    tmp_path, monkeypatch, heic
):
    photo = stored("HEIF")
    monkeypatch.setattr(decoding, "reads_heic", lambda: False)
    for number in range(7):
        (tmp_path / f"IMG_{number}.HEIC").write_bytes(photo)
    write(tmp_path, "renamed.heic", kind="JPEG")
    (tmp_path / "renamed.dat").write_bytes(photo)
    for name in ("list.txt", "a.CR2", "b.cr2", "noending"):
        (tmp_path / name).write_bytes(b"other")
    write(tmp_path, "good.png")
    source = FolderSource(tmp_path)
    assert source.num_images == 1
    assert source.passed_over == (
        "8 .heic (install tfclust[photos] to read it), 2 .cr2, 1 .txt, "
        "1 without an ending, 1 .dat"
    )
    assert source.skipped == [
        ("renamed.dat", "a HEIC with another file extension"),
        ("renamed.heic", "a JPEG with another file extension"),
    ]


def test_jfif_is_a_jpeg(tmp_path):
    write(tmp_path, "photo.jfif", kind="JPEG")
    source = FolderSource(tmp_path)
    assert source.num_images == 1 and source.passed_over == ""


def test_a_path_alone_is_a_folder(tmp_path):
    write(tmp_path, "a/good.png")
    write(tmp_path, "b/good.png")
    source = data.open_source(str(tmp_path))
    assert source.uri == f"folder:{tmp_path}"
    assert source.class_names == ("a", "b")
