"""What a folder of sorted images may be, and what keeps it from being one."""

import os
import pathlib
import types

import numpy as np
import pytest

from tfclust.assignment import sorting


def images(root, names):
    """A source of files with these names, and a table of one cluster."""
    paths = [root / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image")
    count = len(paths)
    table = types.SimpleNamespace(
        cluster=np.zeros(count, int), cluster_name=[""] * count
    )
    return (
        types.SimpleNamespace(path=lambda row: str(paths[row])),
        np.arange(count),
        table,
    )


@pytest.mark.parametrize("argument", ["output", "gallery"])
def test_folder_that_would_replace_an_output_is_refused(tmp_path, argument):
    inside = {argument: tmp_path / "sorted" / "new.csv"}
    with pytest.raises(ValueError, match=f"^{argument} must lie outside"):
        sorting.check(
            "copy_into", tmp_path / "sorted", f"folder:{tmp_path / 'a'}", inside
        )


def test_relative_folder_with_a_colon_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("Rome: 2024").mkdir()
    target = sorting.check("copy_into", "sorted", "Rome: 2024")
    assert target == pathlib.Path("sorted")


@pytest.mark.parametrize("there", [True, False])
def test_link_to_a_folder_leads_to_the_sorted_images(tmp_path, there):
    source, rows, table = images(tmp_path / "a", ["x.png"])
    if there:
        (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    target = sorting.check(
        "copy_into", tmp_path / "link", f"folder:{tmp_path / 'a'}"
    )
    sorting.sort(target, source, rows, table, link=False)
    assert (tmp_path / "link" / "0000" / "x.png").read_bytes() == b"image"


@pytest.mark.parametrize("link", [True, False])
def test_lost_image_is_named_and_is_no_lack_of_room(tmp_path, link):
    source, rows, table = images(tmp_path / "a", ["x.png", "y.png"])
    (tmp_path / "a" / "y.png").unlink()
    with pytest.raises(OSError, match=r"y\.png can no longer be read"):
        sorting.sort(tmp_path / "sorted", source, rows, table, link=link)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]


def test_equal_names_of_the_greatest_length_are_shortened(tmp_path):
    name = "é" * 125 + "x.jpg"  # 255 bytes
    source, rows, table = images(tmp_path, [f"a/{name}", f"b/{name}"])
    sorting.sort(tmp_path / "sorted", source, rows, table, link=False)
    first, second = sorted((tmp_path / "sorted" / "0000").iterdir())
    assert {first.name, second.name} == {name, "é" * 123 + " (2).jpg"}
    assert max(len(os.fsencode(p.name)) for p in (first, second)) <= 255
