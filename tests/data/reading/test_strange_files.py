"""What is not an image file, and may have no end, is listed but not read."""

import os
import pathlib
import socket

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfclust import data
from tfclust.data.reading import files

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)


def sparse(path):
    """40 GB of holes behind a PNG's first bytes."""
    Image.fromarray(PIXELS).save(path, "PNG")
    os.truncate(path, 40 * 10**9)


def bound_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(path))


STRANGE = {
    "a pipe": (os.mkfifo, "a pipe, not a regular file"),
    "a link to a device": (
        lambda path: path.symlink_to("/dev/zero"),
        "a device, not a regular file",
    ),
    "a socket": (bound_socket, "a socket, not a regular file"),
    "40 GB of holes": (sparse, "40,000,000,000 bytes, more than 536,870,912"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)  # a socket's name has 107 bytes at most
    return tmp_path


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", STRANGE)
def test_a_file_without_an_end_is_listed_with_its_reason(folder, kind):
    make, reason = STRANGE[kind]
    make(pathlib.Path("b.png"))
    make(pathlib.Path("without_ending"))  # looked at for its first bytes
    source = data.open_source(f"folder:{folder}", max_bad_share=0.5)
    assert source.manifest().names == ["a.png"]
    assert source.skipped[0] == ("b.png", reason)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", STRANGE)
def test_an_image_that_becomes_one_later_is_replaced(folder, kind):
    Image.fromarray(PIXELS[:, :7]).save("b.png")
    source = data.open_source(f"folder:{folder}")
    os.remove("b.png")
    STRANGE[kind][0](pathlib.Path("b.png"))
    bytes_, choice = source.fetch(tf.constant([1, 0], tf.int64))
    assert int(choice) == 1
    np.testing.assert_array_equal(source.fetched(bytes_, 0), PIXELS)


def test_the_limit_of_bytes_takes_the_largest_file_and_no_larger(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert files.read_regular(path)[0] == b"abc"
    os.truncate(path, files.MAX_FILE_BYTES + 1)
    assert files.read_regular(path, limit=5)[0] == b"abc\0\0"
    with pytest.raises(OSError, match="536,870,913 bytes, more than 536,870"):
        files.read_regular(path)
