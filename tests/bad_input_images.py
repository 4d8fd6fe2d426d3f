"""Images that no command can read: what is typed, and the line that answers.

`CASES` of `test_bad_input.py`: a name in words -> a function of an empty folder
that writes what is wrong there, and gives the command's words and the pattern
of its one line on standard error.
"""

import functools
import gzip
import io
import os
import pathlib
import socket
import struct
import zipfile

import numpy as np
import tensorflow as tf
from google_crc32c import value as crc32c
from PIL import Image

CASES = {}
LENGTH_AT, LABEL = 8, "image/class/label"


def case(name):
    """Lists a function of a folder as the case `name`."""

    def listed(function):
        CASES[name] = function
        return function

    return listed


def training(folder, data, *more):
    """The words of a run that trains on `data` into a folder's `run`."""
    return [
        "tfclust.train",
        f"--data={data}",
        f"--workdir={folder}/run",
        "--backbone=small",
        "--image_size=8",
        "--batch_size=2",
        "--num_clusters=2",
        "--epochs=1",
        *more,
    ]


def words(name, uri, pattern, *more):
    """A case that needs nothing but words; `{}` stands for its folder."""

    def typed(folder):
        given = [argument.replace("{}", str(folder)) for argument in more]
        return training(folder, uri.replace("{}", str(folder)), *given), pattern

    CASES[name] = typed


def file(name, uri, content, pattern):
    """A case of one file, `{}/file`, of bytes or of what makes them."""

    def written(folder):
        made = content() if callable(content) else content
        (folder / "file").write_bytes(made)
        return training(folder, uri.replace("{}", str(folder))), pattern

    CASES[name] = written


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


# The words of a URI.

for text in ("", ":", "folder", "picture:/x", "{}", "FOLDER:{}", "http://x/y"):
    if text:
        words(f"data is {text}", text, "data must be a URI such as folder:")
words("data is empty", "", "data must be given")
words("folder: alone", "folder:", "data=folder: names no path")
words("tfrecord: alone", "tfrecord:", "data=tfrecord: names no path")
words("digits, an unknown split", "digits:?split=half", "splits train, test")
words("digits, no split's name", "digits:?split=", "splits train, test")
words("digits, a split twice", "digits:?split=all&split=all", "takes only a s")
words("digits, another word", "digits:?part=all", "takes only a split")
words("digits, a path", "digits:train", "takes only a split")
words("digits, no question mark", "digits:split=all", "takes only a split")
words("tfds, an unknown word", "tfds:mnist?splits=x", "takes split, data_dir")
words("tfds, a word twice", "tfds:mnist?split=a&split=b", "each once")
words("tfds, an empty word", "tfds:mnist?split=", "takes split, data_dir")
words("tfds, no name", "tfds:?split=train", "takes split, data_dir")
words("npz, no array", "npz:{}/a.npz", "does not say which array")
words("npz, an unknown word", "npz:{}/a?image=x", "takes images, labels")
words("npz, nothing there", "npz:{}/a?images=x", "Found nothing there")
words("npz, a folder", "npz:{}?images=x", "no readable NumPy.*no file")
words("tfrecord, nothing there", "tfrecord:{}/*.x", "Found 0 files")
words("tfrecord, a folder", "tfrecord:{}", "Found 0 files")
words("tfrecord, an open bracket", "tfrecord:{}/[a", "Found 0 files")
words("folder, nothing there", "folder:{}/none", "Found nothing")
words("folder, another's home", "folder:~nobody_here/x", "Found nothing")
words("npz, another's home", "npz:~nobody_here/x?images=x", "Found nothing")
for window in ("0", "-1", "1.5", "x", "9" * 30, "9" * 5000, "²"):
    words(
        f"a window of {window[:31]}",
        f"tfrecord_stream:{{}}/*?window={window}",
        "window must be a number of records, 1 to 1,000,000,000",
    )
words(
    "a part of a stream",
    "tfrecord_stream:{}/*",
    "a stream, of which max_images takes no part",
    "--max_images=3",
)
for shares, pattern in (
    ("1,1", "class_shares must be one number a class, 10"),
    (",".join("0" * 10), "class_shares must leave an image"),
    ("nan,1,1,1,1,1,1,1,1,1", "class_shares"),
    ("1,,1", "class_shares"),
    ("2", "class_shares"),
):
    words(
        f"class shares {shares}",
        "digits:",
        pattern,
        f"--class_shares={shares}",
    )


@case("class shares of images without labels")
def _(folder):
    (folder / "a.png").write_bytes(picture())
    uri = f"folder:{folder}"
    return training(folder, uri, "--class_shares=1"), "class_shares needs label"


@case("class shares of labels that go to the sky")
def _(folder):
    records = [example(image=picture(), label=label) for label in (0, 2**62)]
    (folder / "file").write_bytes(framed(*records))
    uri = f"tfrecord:{folder}/file"
    return (
        training(folder, uri, "--class_shares=1,1"),
        "class_shares must be one number a class, 4611686018427387905",
    )


# Paths.


@case("a path that is not UTF-8")
def _(folder):
    path = os.fsdecode(os.fsencode(folder) + b"/caf\xe9")
    os.mkdir(path)
    pathlib.Path(path, "a.png").write_bytes(picture())
    return training(folder, f"folder:{path}"), r"UTF-8.*caf\\xe9"


@case("a workdir that is not UTF-8")
def _(folder):
    return (
        [*training(folder, "digits:"), f"--workdir={folder}/\udce9"],
        r"UTF-8.*\\xe9",
    )


for kind in ("folder:{}", "tfrecord:{}", "npz:{}?images=x", "tfds:{}"):

    @case(f"a path with a zero in {kind[:8]}")
    def _(folder, kind=kind):
        uri = kind.replace("{}", "/tmp/a\0b")
        (folder / "flags").write_text(f"--data={uri}\n")
        program, _, *rest = training(folder, "")
        return (
            [program, *rest, f"--flagfile={folder}/flags"],
            r"data must name a path, which has no character 0.*a\\x00b",
        )


words("a path beyond all limits", "folder:/" + "a/" * 4000, "Found nothing")
words("a name beyond all limits", "folder:/" + "a" * 4000, "Found nothing")
words("records beyond all limits", "tfrecord:/" + "a" * 4000, "Found 0 files")
words("an archive beyond all limits", f"npz:/{'a' * 4000}?images=x", "nothing")


@case("a folder 1,100 deep without an image")
def _(folder):
    deep(folder / "top", 1100)
    return training(folder, f"folder:{folder}/top"), "no images under"


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


@case("a folder that is a file")
def _(folder):
    (folder / "a.png").write_bytes(picture())
    return training(folder, f"folder:{folder}/a.png"), "Found a file"


@case("a folder in a file")
def _(folder):
    (folder / "a.png").write_bytes(picture())
    return training(folder, f"folder:{folder}/a.png/b"), "Found nothing"


@case("a folder of other files")
def _(folder):
    (folder / "top").mkdir()
    (folder / "top" / "a.txt").touch()
    return training(folder, f"folder:{folder}/top"), "Found 1 other files"


@case("a folder of links to themselves")
def _(folder):
    (folder / "top").mkdir()
    (folder / "top" / "a.png").symlink_to("a.png")
    return training(folder, f"folder:{folder}/top"), "Too many levels of symb"


@case("a link to itself for a folder")
def _(folder):
    (folder / "top").symlink_to("top")
    return training(folder, f"folder:{folder}/top"), "Found nothing"


@case("a folder of empty files")
def _(folder):
    (folder / "top").mkdir()
    (folder / "top" / "a.png").touch()
    return training(folder, f"folder:{folder}/top"), "a.png: empty. Remove"


@case("names with escapes and newlines")
def _(folder):
    top = folder / "to\x1bp"
    top.mkdir()
    (top / "a\n\x1b[2J\u202e.png").write_bytes(b"junk")
    return (
        training(folder, f"folder:{top}"),
        r"to\\x1bp.*a\\n\\x1b\[2J\\u202e\.png: not a readable",
    )


@case("a pipe for an archive")
def _(folder):
    os.mkfifo(folder / "file")
    return training(
        folder, f"npz:{folder}/file?images=x"
    ), "is no readable.*it is no file"


@case("a pipe for records")
def _(folder):
    os.mkfifo(folder / "file")
    return training(folder, f"tfrecord:{folder}/file"), "Found 0 files"


@case("a socket for a folder")
def _(folder):
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(folder)  # a socket's path is short
        one.bind("file")
        os.chdir(here)
    return training(folder, f"folder:{folder}/file"), "Found a file"


@case("a file for the cache")
def _(folder):
    (folder / "a.png").write_bytes(picture())
    (folder / "cache").touch()
    return (
        training(folder, f"folder:{folder}", f"--cache_dir={folder}/cache"),
        "cache_dir must be a folder that can be written",
    )


@case("a cache in another's home")
def _(folder):
    (folder / "a.png").write_bytes(picture())
    (folder / "file").touch()
    return (
        training(
            folder, f"folder:{folder}", f"--cache_dir={folder}/file/~nobody"
        ),
        "cache_dir must be a folder that can be written",
    )


# Records.

R = "tfrecord:{}/file"
S = "tfrecord_stream:{}/file?window=16"
EXAMPLES = "records must be tf.train.Examples with one image/encoded"
for kind, U in (("", R), ("a stream: ", S)):
    file(f"{kind}raw JPEGs", U, lambda: framed(picture("JPEG")), EXAMPLES)
    file(f"{kind}raw PNGs", U, lambda: framed(*[picture()] * 9), EXAMPLES)
    file(f"{kind}empty records", U, lambda: framed(b"", b""), EXAMPLES)
    file(f"{kind}records of zeros", U, lambda: framed(bytes(99)), EXAMPLES)
    file(f"{kind}records of text", U, lambda: framed(b"words"), EXAMPLES)
    file(f"{kind}an empty file", U, b"", "empty")
    file(f"{kind}a JPEG file", U, lambda: picture("JPEG"), "no whole TFRecord")
    file(f"{kind}zeros", U, bytes(4096), "no whole TFRecord.*checksum")
    file(f"{kind}text", U, b"a,b,c\n" * 99, "no whole TFRecord")
    file(f"{kind}no JPEG", U, lambda: framed(example(image=b"x")), "not a read")
    file(f"{kind}cut off", U, lambda: good()[:-9], "no whole TFRecord")
    file(f"{kind}cut in a head", U, lambda: good() + bytes(5), "no whole TFRec")
    file(
        f"{kind}labels that are floats",
        U,
        lambda: framed(example(image=picture(), label=1.5)),
        rf"{EXAMPLES}.*{LABEL} \(float\)",
    )
    file(
        f"{kind}labels that are text",
        U,
        lambda: framed(example(image=picture(), label=b"cat")),
        rf"{EXAMPLES}.*{LABEL} \(bytes\)",
    )
    file(
        f"{kind}two labels an image",
        U,
        lambda: framed(example(image=picture(), label=[1, 2])),
        rf"{EXAMPLES}.*{LABEL} \(2 int64\)",
    )
    file(
        f"{kind}images that are numbers",
        U,
        lambda: framed(example(image=[1, 2, 3])),
        rf"{EXAMPLES}.*image/encoded \(3 int64\)",
    )
    file(
        f"{kind}two images a record",
        U,
        lambda: framed(example(image=[picture()] * 2)),
        rf"{EXAMPLES}.*image/encoded \(2 bytes\)",
    )
    file(f"{kind}no image", U, lambda: framed(example(label=1)), EXAMPLES)
    file(
        f"{kind}images of no bytes",
        U,
        lambda: framed(example(image=b"")),
        EXAMPLES,
    )
    file(
        f"{kind}features with escapes",
        U,
        lambda: framed(example(**{"a\x1b\n": 1})),
        r"features a\\x1b\\n \(int64\)",
    )
    for claimed in (2**31, 2**40, 2**63, 2**64 - 1):
        file(
            f"{kind}a record of {claimed:.0e} bytes",
            U,
            lambda n=claimed: framed(picture(), claimed=n),
            "no whole TFRecord",
        )
        file(
            f"{kind}packed, a record of {claimed:.0e} bytes",
            U,
            lambda n=claimed: gzip.compress(framed(picture(), claimed=n)),
            "no whole TFRecord",
        )
    file(
        f"{kind}a length's bit turned",
        U,
        lambda: flipped(good(), 1),
        "no whole TFRecord.*record 0.*checksum",
    )
    file(
        f"{kind}a length's checksum turned",
        U,
        lambda: flipped(good(), LENGTH_AT),
        "no whole TFRecord.*record 0.*checksum",
    )
    file(
        f"{kind}one record, a bit turned",
        U,
        lambda: flipped(good(1), 20),
        "damaged: its checksum is another",
    )
    file(
        f"{kind}gzip cut off",
        U,
        lambda: gzip.compress(good())[:-20],
        "damaged or truncated gzip|no whole TFRecord",
    )
    file(
        f"{kind}gzip of its first bytes",
        U,
        b"\x1f\x8b",
        "damaged or truncated gzip|no whole TFRecord",
    )
    file(
        f"{kind}gzip of another method",
        U,
        lambda: flipped(gzip.compress(good()), 2),
        "damaged or truncated gzip|no whole TFRecord",
    )
    file(
        f"{kind}gzip with a bit turned",
        U,
        lambda: flipped(gzip.compress(good()), 60),
        "damaged or truncated gzip|no whole TFRecord",
    )
    file(
        f"{kind}gzip in gzip",
        U,
        lambda: gzip.compress(gzip.compress(good())),
        "no whole TFRecord",
    )
    file(f"{kind}gzip of nothing", U, gzip.compress(b""), "empty")

# NumPy archives.

X = "npz:{}/file?images=x"
UNREADABLE = "is no readable NumPy archive"
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
        "labels must be one integer an image",
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
    f"{UNREADABLE}.*x.npy says 600,000,000,000,000 bytes and has 3",
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

# Images to test on.

for what, uri, pattern in (
    ("nothing there", "folder:{}/none", "eval_data=folder: expects"),
    ("no URI", "{}", "eval_data must be a URI"),
    ("the same images", "digits:?split=train", "other images than data"),
    ("an unknown split", "digits:?split=a", "eval_data=digits:.split=a"),
):
    words(
        f"eval_data: {what}",
        "digits:?split=train",
        pattern,
        f"--eval_data={uri}",
    )


@case("eval_data: no labels")
def _(folder):
    (folder / "a.png").write_bytes(picture())
    given = training(folder, "digits:", f"--eval_data=folder:{folder}")
    return given, "which needs labels on both sides"


@case("eval_data: other classes")
def _(folder):
    for name in ("cat", "dog"):
        (folder / name).mkdir()
        (folder / name / "a.png").write_bytes(picture())
    given = training(folder, "digits:", f"--eval_data=folder:{folder}")
    return given, "must have the classes of data"
