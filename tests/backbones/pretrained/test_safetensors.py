"""The reader of `.safetensors`: every type, and no way to make it fall over."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.published import write_safetensors
from tfclust.backbones.pretrained.safetensors_file import read_safetensors

ARRAYS = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "b": np.float16([0.5, -2.0]),
    "scalar": np.float64(3.25),
    "none": np.zeros([0, 5], np.float32),
    "count": np.int64([1 << 40]),
}


def write(path, header, body=b""):
    """A file of any header: a dict, or raw bytes."""
    words = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(words).to_bytes(8, "little") + words + body)
    return path


def entry(begin=0, end=8, dtype="F32", shape=(2,)):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_arrays_are_read_as_written(tmp_path):
    found = read_safetensors(write_safetensors(tmp_path / "a", ARRAYS))
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_bfloat16_becomes_float32(tmp_path):
    body = np.uint16([0x3F80, 0xC040]).tobytes()  # 1 and -3
    path = write(tmp_path / "a", {"x": entry(0, 4, "BF16")}, body)
    np.testing.assert_array_equal(
        read_safetensors(path)["x"], np.float32([1, -3])
    )


def test_file_without_numbers_is_read(tmp_path):
    path = write(tmp_path / "a", {"x": entry(0, 0, shape=(0,))})
    assert read_safetensors(path)["x"].shape == (0,)
    assert read_safetensors(write(tmp_path / "b", {})) == {}


EIGHT = bytes(8)
DAMAGED = {
    "a header longer than the file": (b"\xff" * 7 + b"\0", None, "header must"),
    "no JSON": (b"{", EIGHT, "no JSON"),
    "no UTF-8": (b"\xff\xfe", EIGHT, "no JSON"),
    "deep JSON": (b'{"a":' * 9999, EIGHT, "no JSON"),
    "a list": (b"[1]", EIGHT, "must be a JSON object"),
    "a tensor in a word": ({"x": "F32"}, EIGHT, "must have dtype, shape"),
    "no places": ({"x": {"dtype": "F32", "shape": [2]}}, EIGHT, "must have"),
    "an unknown type": ({"x": entry(dtype="F8_E4M3")}, EIGHT, "must be one of"),
    "a type in a list": ({"x": entry(dtype=["F32"])}, EIGHT, "must be one of"),
    "a negative size": ({"x": entry(shape=(-2,))}, EIGHT, "of 0 or more"),
    "a size in words": ({"x": entry(shape="ab")}, EIGHT, "of 0 or more"),
    "a size that is true": ({"x": entry(shape=(True, 2))}, EIGHT, "of 0 or"),
    "another size": ({"x": entry(shape=(3,))}, EIGHT, "must take 12 bytes"),
    "a huge size": ({"x": entry(shape=(1 << 62, 4))}, EIGHT, "must take"),
    "an end before the beginning": ({"x": entry(8, 0)}, EIGHT, "must take"),
    "a place outside": ({"x": entry(8, 16)}, EIGHT, "must begin at byte 0"),
    "an overlap": (
        {"x": entry(), "y": entry(4, 12)},
        bytes(12),
        "must begin at byte 8",
    ),
    "a gap": ({"x": entry(), "y": entry(12, 20)}, bytes(20), "begin at byte 8"),
    "bytes left over": ({"x": entry()}, bytes(12), "must take 8 bytes"),
    "a truncated body": ({"x": entry()}, bytes(7), "must take 8 bytes"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_file_is_refused(name, tmp_path):
    header, body, words = DAMAGED[name]
    if body is None:
        (tmp_path / "a").write_bytes(header)
    else:
        write(tmp_path / "a", header, body)
    with pytest.raises(ValueError, match=words):
        read_safetensors(tmp_path / "a")


@pytest.mark.parametrize("size", [0, 1, 7])
def test_file_of_a_few_bytes_is_refused(size, tmp_path):
    (tmp_path / "a").write_bytes(bytes(size))
    with pytest.raises(ValueError, match="header must lie within the file"):
        read_safetensors(tmp_path / "a")


@settings(max_examples=300)
@given(
    cut=st.integers(0, 400),
    places=st.lists(
        st.tuples(st.integers(0, 399), st.integers(0, 255)), max_size=4
    ),
)
def test_no_damage_does_worse_than_a_sentence(cut, places, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    data = bytearray(write_safetensors(path, ARRAYS).read_bytes())
    for place, byte in places:
        if place < len(data):
            data[place] = byte
    path.write_bytes(data[: len(data) - cut] if cut else data)
    try:
        found = read_safetensors(path)
    except ValueError as error:
        assert str(error)
    else:
        assert all(isinstance(array, np.ndarray) for array in found.values())
