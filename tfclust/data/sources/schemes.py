"""The kinds of `--data` URIs: one table, and what a URI says by itself.

Does not import TensorFlow, so that a typing mistake is refused at once. A
source is a file here, whose `open_uri` takes an `Asked` and returns a `Source`,
and a line in `SCHEMES`.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

from tfclust.runtime import folders
from tfclust.runtime.terminal import one_line


class Asked(NamedTuple):
    """What is asked of a source."""

    uri: str  # as it was given
    path: str  # what follows the scheme, without the words
    words: dict  # `{word: text}` of what follows the last `?`
    max_images: int | None  # this many of the images; None for all
    cache_dir: str | None  # for files that cannot be kept beside the data
    max_bad_share: float  # of the images; more unreadable ones are refused
    argument: str  # the argument that gave the URI, for errors


class Scheme(NamedTuple):
    """A kind of URI, `<scheme>:<path>?<word>=<text>&...`.

    Attributes:
      words: words that may follow a `?`; none if everything after the colon is
        a path.
      open: the module of `tfclust.data.sources` whose `open_uri` opens it; by
        name, since most import TensorFlow.
      help: an example of such a URI.
      needs_path: whether something must follow the colon.
      check: function of path and argument that refuses a missing place before
        TensorFlow is imported; or None.
      note: a remark for `--help`; a scheme that has one is not suggested in
        errors.
    """

    words: tuple[str, ...]
    open: str
    help: str
    needs_path: bool = True
    check: Callable | None = None
    note: str = ""


def check_folder(folder, argument):
    """Raises FileNotFoundError if the path `folder` is not a folder."""
    folder = folders.expanded(folder)
    if not os.path.isdir(folder):
        what = "a file" if os.path.exists(folder) else "nothing"
        raise FileNotFoundError(
            f"{argument}=folder: expects a folder of images. Found {what} at "
            f"{one_line(folder)}."
        )


SCHEMES = {
    "folder": Scheme((), "folder", "folder:/path", check=check_folder),
    "tfrecord": Scheme((), "tfrecord", "tfrecord:/path/*.tfrecord"),
    "npz": Scheme(
        ("images", "labels"),
        "npz",
        "npz:/file.npz?images=x_train&labels=y_train",
    ),
    "tfds": Scheme(
        ("split", "data_dir", "image", "label"),
        "tfds",
        "tfds:name?split=train",
    ),
    "tfrecord_stream": Scheme(
        ("window",),
        "stream",
        "tfrecord_stream:/path/*.tfrecord?window=10000",
        note="with steps",
    ),
    "voc": Scheme(("split", "sets"), "voc", "voc:/folder or zip?split=train"),
    "digits": Scheme((), "digits", "digits:?split=train", needs_path=False),
}


def examples(*, noted=False):
    """A URI of each kind, in words.

    Args:
      noted: whether to include those that have a `note`, with it.
    """
    *others, last = [
        scheme.help + (f" ({scheme.note})" if scheme.note else "")
        for scheme in SCHEMES.values()
        if noted or not scheme.note
    ]
    return f"{', '.join(others)} or {last}"


def check_uri(uri, argument="data"):
    """Refuses a URI without a scheme or a path, or whose folder is missing.

    Args:
      uri: str, as `open_source` takes it.
      argument: str, the argument that gave `uri`, for errors.

    Raises:
      FileNotFoundError: if `folder:` does not name a folder.
      ValueError: if the scheme is unknown or nothing follows it.
    """
    scheme, rest = parted(uri, argument)
    check = SCHEMES[scheme].check
    if check is not None:
        check(rest, argument)


def parted(uri, argument):
    """The scheme of a URI, and what follows it; see `check_uri`."""
    scheme, colon, rest = uri.partition(":")
    if scheme not in SCHEMES and _is_folder(uri):
        return "folder", uri
    shown = one_line(uri)
    if not colon or scheme not in SCHEMES:
        raise ValueError(
            f"{argument} must be a folder that exists, or a URI such as "
            f"{examples()}. Received: "
            f"{argument}={shown}." + _suggestion(uri)
        )
    needs_path = SCHEMES[scheme].needs_path
    if needs_path and "\0" in uri:
        raise ValueError(
            f"{argument} must name a path without null characters. Received: "
            f"{argument}={shown}."
        )
    if needs_path and not rest:
        raise ValueError(
            f"{argument}={shown} names no path. Write {examples()}."
        )
    return scheme, rest


def _is_folder(uri):
    """Whether what has no scheme is the path of a folder."""
    try:
        return bool(uri) and os.path.isdir(folders.expanded(uri))
    except ValueError:  # the home of nobody, or a character 0
        return False


def _suggestion(uri):
    try:
        path = str(folders.expanded(uri))
    except ValueError:  # an unknown user's home: not a path
        return ""
    shown = one_line(uri)
    if os.path.isfile(path) and path.endswith(".npz"):
        return f" Write npz:{shown}?images=<array>."
    if os.path.isfile(path):
        return f" Write tfrecord:{shown} if it is a TFRecord file."
    return ""
