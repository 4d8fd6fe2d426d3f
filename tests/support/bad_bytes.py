"""Bytes of files that are damaged, and folders that go too deep."""

import functools
import io
import os
import struct
import zipfile

import numpy as np
import tensorflow as tf
from google_crc32c import value as crc32c
from PIL import Image

LENGTH_AT, LABEL = 8, "image/class/label"


@functools.cache
def picture(kind="PNG"):
    """An image's bytes."""
    stored = io.BytesIO()
    Image.new("RGB", (9, 8), "teal").save(stored, kind)
    return stored.getvalue()


def checksum(data):
    """That of a TFRecord file: CRC32C, turned and shifted."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 2**32 - 1)


def framed(*records, claimed=None):
    """Bytes of a TFRecord file; `claimed` in place of the lengths."""
    whole = b""
    for record in records:
        length = len(record) if claimed is None else claimed
        head = struct.pack("<Q", length)
        whole += head + checksum(head) + record + checksum(record)
    return whole


def example(**features):
    """A serialised example; `image`, `label` by their usual names."""
    usual = {"image": "image/encoded", "label": LABEL}
    named = {usual.get(name, name): values for name, values in features.items()}
    kinds = {bytes: "bytes_list", int: "int64_list", float: "float_list"}

    def feature(values):
        values = values if isinstance(values, list) else [values]
        lists = tf.train.Feature()
        getattr(lists, kinds[type(values[0])]).value.extend(values)
        return lists

    filled = {name: feature(values) for name, values in named.items()}
    record = tf.train.Example(features=tf.train.Features(feature=filled))
    return record.SerializeToString()


def good(count=4):
    """Bytes of a TFRecord file of labelled images."""
    return framed(*[example(image=picture(), label=i) for i in range(count)])


def flipped(data, place, bit=0):
    """`data` with one bit turned."""
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def archive(save=np.savez, **arrays):
    """Bytes of an npz."""
    stored = io.BytesIO()
    save(stored, **arrays)
    return stored.getvalue()


def member(content, name="x.npy", **how):
    """Bytes of a zip of one member."""
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as packed:
        packed.writestr(zipfile.ZipInfo(name), content, **how)
    return stored.getvalue()


def npy(shape, descr="'|u1'", data=b""):
    """Bytes of an array's file whose header says so."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"
    header = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def patched(content, signature, place, new):
    """A zip with bytes of its local (PK34) or central (PK12) header changed."""
    begin = content.index(signature) + place
    return content[:begin] + new + content[begin + len(new) :]


def in_both(content, local, new):
    """The same in both headers; central ones have two bytes more before."""
    once = patched(content, b"PK\x03\x04", local, new)
    return patched(once, b"PK\x01\x02", local + 2, new)


def deep(top, count, name="d"):
    """`count` folders in one another, which no path need reach."""
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(count):
        os.mkdir(name, dir_fd=here)
        there = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)
