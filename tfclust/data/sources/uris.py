"""`--data` URIs: `digits:?split=train`, `folder:/path`, `tfrecord:/glob`,
`npz:/file?images=x_train&labels=y_train`, `tfds:name?split=train`,
`tfrecord_stream:/glob?window=10000`.
"""

import urllib.parse

from tfclust.data.config import MAX_BAD_SHARE
from tfclust.data.sources.digits import open_digits
from tfclust.data.sources.folder import FolderSource
from tfclust.data.sources.npz import open_npz
from tfclust.data.sources.parts import with_class_shares
from tfclust.data.sources.schemes import parted
from tfclust.data.sources.stream import StreamSource
from tfclust.data.sources.tfds import open_tfds
from tfclust.data.sources.tfrecord import TFRecordSource
from tfclust.runtime.terminal import one_line

_MAX_WINDOW = 10**9  # a window is kept in memory


def open_source(
    uri,
    *,
    max_images=None,
    class_shares=(),
    cache_dir=None,
    max_bad_share=MAX_BAD_SHARE,
    argument="data",
):
    """The source that `uri` names, every image checked.

    Args:
      uri: `digits:?split=train|test|all`, `folder:/path`, `tfrecord:/path or
        glob`, `npz:/file?images=<array>&labels=<array>` or
        `tfds:name[/config]?split=<split>&data_dir=<folder>`, or
        `tfrecord_stream:/path or glob?window=<records>`. Paths may be relative
        or begin with `~`.
      max_images: int, so many of the images (`folder:` takes them evenly
        spaced, the others from the begin); None for all.
      class_shares: floats in [0, 1], the share of each class of these that is
        kept, by label (`parts.with_class_shares`); empty for all.
      cache_dir: folder where the check's result, offset indices and unpacked
        files are kept if they cannot lie beside the data; None for nowhere.
      max_bad_share: float in [0, 1]; more unreadable images are refused, fewer
        are left out and listed in `skipped`.
      argument: str, what `uri` was given as, for errors.

    Returns:
      `Source`.

    Raises:
      FileNotFoundError: if nothing lies there.
      UnreadableImages: a ValueError, if too many images cannot be read.
      ValueError: if `uri`, `max_images` or `class_shares` makes no sense, or
        the data cannot be read.
    """
    source = _open(uri, max_images, cache_dir, max_bad_share, argument)
    return with_class_shares(source, class_shares) if class_shares else source


def _open(uri, max_images, cache_dir, max_bad_share, argument):
    if max_images is not None and max_images < 1:
        raise ValueError(
            f"max_images must be at least 1. Received: max_images={max_images}."
        )
    scheme, rest = parted(uri, argument)
    shown = one_line(uri)
    if scheme == "digits":
        return open_digits(_split(argument, shown, rest), max_images, argument)
    if scheme == "npz":
        path, words = _words(argument, uri, rest, ("images", "labels"))
        if "images" not in words:
            raise ValueError(
                f"{argument}={shown} does not say which array the images are. "
                f"Write npz:{one_line(path)}"
                "?images=x_train&labels=y_train."
            )
        return open_npz(path, **words, max_images=max_images, argument=argument)
    if scheme == "tfrecord_stream":
        if max_images is not None:
            raise ValueError(
                f"{argument}={shown} is a stream, of which max_images takes no "
                f"part. Received: max_images={max_images}. Give fewer --steps."
            )
        path, words = _words(argument, uri, rest, ("window",))
        return StreamSource(
            path,
            **{n: _number(argument, uri, n, words[n]) for n in words},
            max_bad_share=max_bad_share,
            argument=argument,
        )
    how = {
        "max_images": max_images,
        "cache_dir": cache_dir,
        "max_bad_share": max_bad_share,
        "argument": argument,
    }
    if scheme == "tfds":
        known = ("split", "data_dir", "image", "label")
        name, words = _words(argument, uri, rest, known)
        return open_tfds(name, **words, **how)
    kind = FolderSource if scheme == "folder" else TFRecordSource
    return kind(rest, **how)


def _words(argument, uri, rest, known):
    """What stands before the last `?`, and the words after it as a dict."""
    path, mark, query = rest.rpartition("?")
    if not mark:
        path, query = rest, ""
    # A plus is a plus here, and no space.
    pairs = urllib.parse.parse_qsl(
        query.replace("+", "%2B"), keep_blank_values=True
    )
    words = dict(pairs)
    wrong = [n for n in words if n not in known]
    if not path or wrong or len(words) < len(pairs) or "" in words.values():
        raise ValueError(
            f"{uri.partition(':')[0]}: takes {', '.join(known)}, each once, "
            "after a path or name and a ?. Received: "
            f"{argument}={one_line(uri)}."
        )
    return path, words


def _number(argument, uri, name, text):
    few_digits = len(text) <= len(str(_MAX_WINDOW))
    number = int(text) if text.isdecimal() and few_digits else 0
    if not 1 <= number <= _MAX_WINDOW:
        raise ValueError(
            f"{name} must be a number of records, 1 to {_MAX_WINDOW:,}. "
            f"Received: {argument}={one_line(uri)}."
        )
    return number


def _split(argument, uri, rest):
    query = urllib.parse.parse_qsl(
        rest.removeprefix("?"), keep_blank_values=True
    )
    names = [name for name, _ in query]
    if names not in ([], ["split"]) or (rest and not rest.startswith("?")):
        raise ValueError(
            "digits takes only a split, once: digits:?split=train. Received: "
            f"{argument}={uri}."
        )
    return dict(query).get("split", "train")
