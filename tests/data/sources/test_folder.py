"""Folders of images: what is read, in which order, and what is left out."""

import os
import threading

import numpy as np
import pytest
from PIL import Image

from tests.support.image_files import encoded, picture, pixels, write
from tfclust import data
from tfclust.data.reading import checking


def test_sub_folders_are_labels_in_sorted_order(tmp_path):
    for name in (
        "zebra/a.png",
        "ant/deep/er/b.png",
        "ant/a.PNG",
        "zebra/Ü 1.png",
    ):
        write(tmp_path, name)
    source = data.open_source(f"folder:{tmp_path}")
    assert source.manifest().names == [
        "ant/a.PNG",
        "ant/deep/er/b.png",
        "zebra/a.png",
        "zebra/Ü 1.png",
    ]
    assert source.class_names == ("ant", "zebra")
    assert source.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "names", [["a.png", "b.png"], ["x/a.png", "b.png"], ["x/a.png"]]
)
def test_a_folder_without_two_classes_has_no_labels(tmp_path, names):
    for name in names:
        write(tmp_path, name)
    source = data.open_source(f"folder:{tmp_path}")
    assert source.num_images == len(names)
    assert source.labels is None and source.class_names is None


def test_files_that_are_hidden_or_no_images_by_name_are_passed_over(tmp_path):
    write(tmp_path, "a.png")
    write(tmp_path, ".hidden.png")
    write(tmp_path, ".cache/b.png")
    (tmp_path / "notes.txt").write_text("words")
    assert data.open_source(f"folder:{tmp_path}").num_images == 1


def test_relative_and_home_paths_are_found(tmp_path, monkeypatch):
    write(tmp_path, "bilder ä/a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.open_source("folder:bilder ä").num_images == 1
    assert data.open_source("folder:~/bilder ä").num_images == 1


def test_every_format_is_decoded_whatever_its_name(tmp_path):
    image = picture()
    grey = Image.fromarray(image).convert("L")
    kinds = {
        "a.png": Image.fromarray(image),
        "b.bmp": Image.fromarray(image),
        "c.gif": Image.fromarray(image),
        "d.png": grey,
        "e.png": Image.fromarray(image).convert("RGBA"),
        "f.png": Image.fromarray(image).convert("P"),
        "g.jpg": grey,
        "h.jpg": Image.fromarray(image).convert("CMYK"),
    }
    for name, view in kinds.items():
        view.save(tmp_path / name)
    (tmp_path / "i.jpg").write_bytes(encoded(image, "PNG"))
    (tmp_path / "j.jpg").write_bytes(encoded(image, "WEBP", lossless=True))
    source = data.open_source(f"folder:{tmp_path}")
    assert source.num_images == 10 and not source.skipped
    found = pixels(source)
    assert {view.shape for view in found} == {image.shape}
    for i in (0, 1, 4, 8, 9):
        np.testing.assert_array_equal(found[i], image)
    assert source.jpeg.tolist() == [False] * 6 + [True] * 2 + [False] * 2


def test_damaged_files_are_left_out_with_a_reason(tmp_path):
    for i in range(20):
        write(tmp_path, f"{i:02d}.jpg", kind="JPEG")
    whole = (tmp_path / "03.jpg").read_bytes()
    (tmp_path / "03.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "07.jpg").write_bytes(b"")
    source = data.open_source(f"folder:{tmp_path}", max_bad_share=0.1)
    assert source.num_images == 18
    assert source.skipped == [
        ("03.jpg", "a damaged or truncated JPEG"),
        ("07.jpg", "empty"),
    ]
    assert "03.jpg" not in source.manifest().names
    with pytest.raises(ValueError, match="2 of 20 images.*03.jpg: a damaged"):
        data.open_source(f"folder:{tmp_path}", max_bad_share=0.05)


def test_a_link_to_nothing_is_left_out_with_a_reason(tmp_path):
    for i in range(10):
        write(tmp_path, f"{i:02d}.png")
    (tmp_path / "dead.png").symlink_to(tmp_path / "absent.png")
    source = data.open_source(f"folder:{tmp_path}", max_bad_share=0.1)
    assert source.num_images == 10
    assert source.skipped == [("dead.png", "No such file or directory")]


def test_a_link_to_a_folder_above_multiplies_no_image(tmp_path):
    write(tmp_path, "set/a/0.png")
    write(tmp_path, "set/b/1.png")
    write(tmp_path, "elsewhere/2.png")
    (tmp_path / "set/a/up").symlink_to("..")
    (tmp_path / "set/b/self").symlink_to(".")
    (tmp_path / "set/c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "set")
    source = data.open_source(f"folder:{tmp_path}/set")
    assert source.manifest().names == ["a/0.png", "b/1.png", "c/2.png"]
    assert source.class_names == ("a", "b", "c")


def test_names_that_are_not_utf8_are_read_and_told_as_text(tmp_path):
    images, cache = tmp_path / "images", tmp_path / "cache"
    image = picture()
    for name in (b"ant\xe9/a\xff.png", b"bee/b.png", b"bee/c\xff.png"):
        write(images, os.fsdecode(name), image)
    write(images, os.fsdecode(b"bee/d\xff.png")).write_bytes(b"")
    for _ in range(2):  # the second time from the cache
        source = data.open_source(
            f"folder:{images}", cache_dir=cache, max_bad_share=0.3
        )
        np.testing.assert_array_equal(pixels(source), [image] * 3)
        assert source.class_names == (r"ant\xe9", "bee")
        assert source.skipped == [(r"bee/d\xff.png", "empty")]
        assert len(source.manifest_hash) == 64


def test_a_jpeg_cut_off_anywhere_is_left_out(tmp_path):
    whole = encoded(picture(64, 48), "JPEG")
    (tmp_path / "a.jpg").write_bytes(whole)
    for percent in range(1, 98, 8):
        end = len(whole) * percent // 100
        (tmp_path / f"cut at {percent}.jpg").write_bytes(whole[:end])
    source = data.open_source(f"folder:{tmp_path}", max_bad_share=1.0)
    assert source.manifest().names == ["a.jpg"]
    assert (source.heights[0], source.widths[0]) == (64, 48)


def test_a_text_file_called_png_is_told_from_images(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(ValueError, match="1 of 1 images.*not a readable"):
        data.open_source(f"folder:{tmp_path}")


def test_max_images_keeps_each_class(tmp_path):
    for name in "abc":
        for i in range(10):
            write(tmp_path, f"{name}/{i}.png")
    source = data.open_source(f"folder:{tmp_path}", max_images=6)
    assert source.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_images_for_pillow_are_checked_side_by_side(tmp_path, monkeypatch):
    for i in range(32):
        write(tmp_path, f"{i:02d}.gif", kind="GIF")
    both = threading.Barrier(2, timeout=60)
    decode = checking.decoding.decode_by_pillow

    def met(data):
        both.wait()
        return decode(data)

    monkeypatch.setattr(checking.cores, "usable_cpus", lambda: 2)
    monkeypatch.setattr(checking.decoding, "decode_by_pillow", met)
    source = data.open_source(f"folder:{tmp_path}")
    assert source.num_images == 32 and not source.skipped


def test_folders_without_images_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing at"):
        data.open_source(f"folder:{tmp_path}/absent")
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(FileNotFoundError, match="Found 1 other files"):
        data.open_source(f"folder:{tmp_path}")
    with pytest.raises(FileNotFoundError, match="Found a file"):
        data.open_source(f"folder:{tmp_path}/a.txt")
