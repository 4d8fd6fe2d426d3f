"""Reads a `.safetensors` file: names, shapes and raw numbers, and no code.

Eight bytes with the header's length, the header in JSON, then the tensors, each
little-endian and row by row. Ours and not the package `safetensors`, because so
short a reader needs no extra to be installed. All that a header says is checked
against the file before a number is read, so that a damaged or hostile file is
an error.

Source: huggingface/safetensors, README, "Format".
"""

import json
import math
import os
from typing import NamedTuple

import numpy as np

_LENGTH_BYTES = 8
_LARGEST_HEADER = 100_000_000  # bytes, the format's own limit
_METADATA = "__metadata__"
_BFLOAT16 = "BF16"
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    _BFLOAT16: "<u2",  # the upper half of a float32
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}


class _Entry(NamedTuple):
    """A tensor of the header; places count from the header's end."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_safetensors(path):
    """The tensors of a file, which stays mapped while they are in use.

    Args:
      path: of the file.

    Returns:
      `{name: ndarray}`; BF16 as float32.

    Raises:
      ValueError: if the file is truncated, or its header is no such header,
        leaves the file, has overlaps or gaps, or names an unknown type.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        start = _LENGTH_BYTES + length
        if size < _LENGTH_BYTES or length > _LARGEST_HEADER or start > size:
            raise ValueError(
                f"a header must lie within the file. Received: {length} bytes "
                f"of header in {size} bytes"
            )
        entries = _entries(file.read(length))
    _check_places(entries, size - start)
    if start == size:
        return {e.name: np.zeros(e.shape, _TYPES[e.dtype]) for e in entries}
    data = np.memmap(path, np.uint8, "r", offset=start, shape=(size - start,))
    return {entry.name: _array(data, entry) for entry in entries}


def _entries(header):
    try:
        described = json.loads(header.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the header is no JSON: {error}") from error
    if not isinstance(described, dict):
        raise ValueError("the header must be a JSON object of tensors")
    return [
        _entry(name, about)
        for name, about in described.items()
        if name != _METADATA
    ]


def _entry(name, about):
    """The `_Entry` of one line of the header."""
    try:
        dtype, shape = about["dtype"], tuple(about["shape"])
        begin, end = about["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"tensor {name!r} must have dtype, shape and data_offsets"
        ) from error
    if not isinstance(dtype, str) or dtype not in _TYPES:
        raise ValueError(
            f"tensor {name!r} must be one of {', '.join(_TYPES)}. Received: "
            f"dtype={dtype!r}"
        )
    if any(type(n) is not int or n < 0 for n in (*shape, begin, end)):
        raise ValueError(
            f"tensor {name!r} must have sizes and places of 0 or more. "
            f"Received: shape={shape}, data_offsets={[begin, end]}"
        )
    wanted = math.prod(shape) * np.dtype(_TYPES[dtype]).itemsize
    if end - begin != wanted:
        raise ValueError(
            f"tensor {name!r} of {dtype} {shape} must take {wanted} bytes. "
            f"Received: data_offsets={[begin, end]}"
        )
    return _Entry(name, dtype, shape, begin, end)


def _check_places(entries, size):
    """Tensors must follow one another from the first byte to the last."""
    place = 0
    for entry in sorted(entries, key=lambda e: (e.begin, e.end)):
        if entry.begin != place:
            raise ValueError(
                f"tensor {entry.name!r} must begin at byte {place}, where the "
                f"one before it ends. Received: {entry.begin}"
            )
        place = entry.end
    if place != size:
        raise ValueError(
            f"the tensors must take {place} bytes. Received: {size} bytes"
        )


def _array(data, entry):
    flat = data[entry.begin : entry.end].view(_TYPES[entry.dtype])
    if entry.dtype == _BFLOAT16:
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    return flat.reshape(entry.shape)
