"""NumPy archives that are none: `CASES`."""

import struct
import zipfile

import numpy as np

from tests.support.bad_bytes import (
    archive,
    flipped,
    in_both,
    member,
    npy,
    patched,
)
from tests.support.bad_input import Cases

CASES = Cases()
file = CASES.file

# NumPy archives.

X = "npz:{}/file?images=x"
UNREADABLE = "is not a readable NumPy archive"
file("npz: empty", X, b"", UNREADABLE)
file("npz: text", X, b"words", UNREADABLE)
file("npz: an npy", X, lambda: npy("(1, 8, 8)", data=bytes(64)), UNREADABLE)
file("npz: cut off", X, lambda: archive(x=np.zeros(9))[:-30], UNREADABLE)
file("npz: another array", X, lambda: archive(y=np.zeros(9)), "one of: y")
file("npz: no array", X, lambda: archive(), "one of: none|no array x")
file(
    "npz: an array's name with escapes",
    X,
    lambda: archive(**{"\x1b": np.zeros(1)}),
    r"one of: \\x1b",
)
for what, array in {
    "floats": np.zeros([2, 8, 8]),
    "no images": np.zeros([0, 8, 8], np.uint8),
    "no pixels": np.zeros([2, 0, 8], np.uint8),
    "a number": np.uint8(3),
    "four channels": np.zeros([2, 8, 8, 4], np.uint8),
    "text": np.array("words"),
    "dates": np.zeros([2, 8, 8], "M8[s]"),
    "records": np.zeros([2, 8, 8], [("r", np.uint8)]),
}.items():
    file(
        f"npz: {what}", X, lambda a=array: archive(x=a), "images must be uint8"
    )
file(
    "npz: Python objects",
    X,
    lambda: archive(x=np.array([{}], object)),
    "an array of Python objects",
)
for what, labels in {
    "floats": np.zeros(2),
    "too few": np.zeros(1, int),
    "a table": np.zeros([2, 2], int),
    "text": np.array(["a", "b"]),
    "none": np.zeros(0, int),
}.items():
    file(
        f"npz: labels that are {what}",
        X + "&labels=y",
        lambda y=labels: archive(x=np.zeros([2, 8, 8], np.uint8), y=y),
        "labels must be one integer per image",
    )
file(
    "npz: encrypted",
    X,
    lambda: in_both(member(npy("(1,)", data=b"x")), 6, b"\1\0"),
    f"{UNREADABLE}.*encrypted",
)
file(
    "npz: an unknown compression",
    X,
    lambda: in_both(member(npy("(1,)", data=b"x")), 8, b"\x63\0"),
    f"{UNREADABLE}.*compression",
)
for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
    file(
        f"npz: compression {compression} of damaged bytes",
        X,
        lambda c=compression: patched(
            member(npy("(9999,)", data=bytes(9999)), compress_type=c),
            b"PK\x03\x04",
            55,
            b"\xff" * 8,
        ),
        UNREADABLE,
    )
file(
    "npz: 582 TiB claimed",
    X,
    lambda: member(npy("(200000000, 1000, 1000, 3)", data=b"xxx")),
    f"{UNREADABLE}.*x.npy claims 600,000,000,000,000 bytes but has 3",
)
file(
    "npz: 582 TiB claimed twice",
    X,
    lambda: in_both(
        member(npy("(4, 1000, 1000, 1000)", data=b"xxx")),
        18,
        struct.pack("<II", 4_000_000_128, 4_000_000_128),
    ),
    UNREADABLE,
)
for what, header in {
    "of no dictionary": "[1]",
    "of a negative shape": "(-1, 8, 8)",
    "of a shape in words": "('a',)",
    "of a shape beyond int64": f"({2**70},)",
    "of many dimensions": f"({'1,' * 30}{'1,' * 30})",
    "that does not parse": "((((",
}.items():
    file(
        f"npz: a header {what}", X, lambda h=header: member(npy(h)), UNREADABLE
    )
file(
    "npz: a type that is none",
    X,
    lambda: member(npy("(1,)", "'!'")),
    UNREADABLE,
)
file(
    "npz: a type in a type", X, lambda: member(npy("(1,)", "[[1]]")), UNREADABLE
)
file("npz: half a header", X, lambda: member(npy("(1,)")[:40]), UNREADABLE)
file(
    "npz: version 9",
    X,
    lambda: member(b"\x93NUMPY\x09\0" + bytes(99)),
    UNREADABLE,
)
file("npz: a member of text", X, lambda: member(b"x", "x"), UNREADABLE)
file(
    "npz: a bit turned in the pixels",
    X,
    lambda: flipped(archive(x=np.zeros([2, 8, 8], np.uint8)), 200),
    f"{UNREADABLE}.*CRC",
)
