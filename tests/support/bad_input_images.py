"""Images that are not there: `CASES` of bad URIs, paths and folders."""

import os
import pathlib
import socket

from tests.support.bad_bytes import deep, example, framed, picture
from tests.support.bad_input import Cases, training

CASES = Cases()
case = CASES.case
words = CASES.words

# The words of a URI.

for text in (
    "",
    ":",
    "folder",
    "picture:/x",
    "{}/none",
    "FOLDER:{}",
    "http://x/y",
):
    if text:
        words(
            f"data is {text}",
            text,
            "data must be a folder that exists, or a URI such as folder:",
        )
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
words("npz, a folder", "npz:{}?images=x", "not a readable NumPy.*not a file")
words("tfrecord, nothing there", "tfrecord:{}/*.x", "Found 0 files")
words("tfrecord, a folder", "tfrecord:{}", "Found 0 files")
words("tfrecord, an open bracket", "tfrecord:{}/[a", "Found 0 files")
words("folder, nothing there", "folder:{}/none", "Found nothing")
words("folder, another's home", "folder:~nobody_here/x", "no such user")
words("npz, another's home", "npz:~nobody_here/x?images=x", "no such user")
for window in ("0", "-1", "1.5", "x", "9" * 30, "9" * 5000, "²"):
    words(
        f"a window of {window[:31]}",
        f"tfrecord_stream:{{}}/*?window={window}",
        "window must be a number of records, 1 to 1,000,000,000",
    )
words(
    "a part of a stream",
    "tfrecord_stream:{}/*",
    "a stream, and max_images does not apply",
    "--max_images=3",
)
for shares, pattern in (
    ("1,1", "class_shares must be one number per class, 10"),
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
        "class_shares must be one number per class, 4611686018427387905",
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
            r"data must name a path without null characters.*a\\x00b",
        )


words("a path beyond all limits", "folder:/" + "a/" * 4000, "Found nothing")
words("a name beyond all limits", "folder:/" + "a" * 4000, "Found nothing")
words("records beyond all limits", "tfrecord:/" + "a" * 4000, "Found 0 files")
words("an archive beyond all limits", f"npz:/{'a' * 4000}?images=x", "nothing")


@case("a folder 1,100 deep without an image")
def _(folder):
    deep(folder / "top", 1100)
    return training(folder, f"folder:{folder}/top"), "no images under"


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
    ), "is not a readable.*it is not a file"


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


# Images to test on.

for what, uri, pattern in (
    ("nothing there", "folder:{}/none", "eval_data=folder: expects"),
    ("no URI", "{}/none", "eval_data must be a folder that exists"),
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
