"""Sources opened by their URI, of the kinds in `schemes.SCHEMES`."""

import importlib
import urllib.parse

from tfclust.data.config import MAX_BAD_SHARE
from tfclust.data.sources.parts import imbalance_shares, with_class_shares
from tfclust.data.sources.schemes import SCHEMES, Asked, parted
from tfclust.runtime.terminal import one_line


def open_source(
    uri,
    *,
    max_images=None,
    class_shares=(),
    imbalance="none",
    cache_dir=None,
    max_bad_share=MAX_BAD_SHARE,
    argument="data",
):
    """The source that `uri` names, every image checked.

    Args:
      uri: `digits:?split=train|test|all`, `folder:/path`, `tfrecord:/path or
        glob`, `npz:/file?images=<array>&labels=<array>`,
        `tfds:name[/config]?split=<split>&data_dir=<folder>`,
        `voc:/folder or zip?split=<split>`, or
        `tfrecord_stream:/path or glob?window=<records>`. Paths may be relative
        or start with `~`.
      max_images: int, take this many images (`folder:` takes them evenly
        spaced, the others from the start); None for all.
      class_shares: floats in [0, 1], the share of each class that is kept of
        these, by label (`parts.with_class_shares`); empty for all.
      imbalance: "none", "light" or "heavy", shares by a rule instead of
        `class_shares` (`parts.imbalance_shares`).
      cache_dir: folder where the check's result, offset indices and unpacked
        files are kept if they cannot be kept beside the data; None for nowhere.
      max_bad_share: float in [0, 1]; more unreadable images are refused, fewer
        are left out and listed in `skipped`.
      argument: str, the argument that gave `uri`, for errors.

    Returns:
      `Source`.

    Raises:
      FileNotFoundError: if nothing is there.
      UnreadableImages: a ValueError, if too many images cannot be read.
      ValueError: if `uri`, `max_images` or `class_shares` makes no sense, or
        the data cannot be read.
    """
    source = _open(uri, max_images, cache_dir, max_bad_share, argument)
    if imbalance != "none":
        class_shares = imbalance_shares(source, imbalance)
    return with_class_shares(source, class_shares) if class_shares else source


def _open(uri, max_images, cache_dir, max_bad_share, argument):
    if max_images is not None and max_images < 1:
        raise ValueError(
            f"max_images must be at least 1. Received: max_images={max_images}."
        )
    name, path = parted(uri, argument)
    scheme, words = SCHEMES[name], {}
    if scheme.words:
        path, words = _words(argument, uri, path, scheme.words)
    module = importlib.import_module(f"tfclust.data.sources.{scheme.open}")
    return module.open_uri(
        Asked(uri, path, words, max_images, cache_dir, max_bad_share, argument)
    )


def _words(argument, uri, rest, known):
    """What comes before the last `?`, and the words after it as a dict."""
    path, mark, query = rest.rpartition("?")
    if not mark:
        path, query = rest, ""
    # Here a plus is a plus, not a space.
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
