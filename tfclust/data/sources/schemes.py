"""What a `--data` URI says by itself, before anything is opened.

Imports no TensorFlow, so that a slip of the pen is refused at once.
"""

import os

from tfclust.runtime.terminal import one_line

_SCHEMES = ("digits", "folder", "tfrecord", "npz", "tfds", "tfrecord_stream")
_EXAMPLES = (
    "folder:/path, tfrecord:/path/*.tfrecord, "
    "npz:/file.npz?images=x_train&labels=y_train, tfds:name?split=train or "
    "digits:?split=train"
)


def check_uri(uri, argument="data"):
    """Refuses a URI without a scheme or a path, or whose folder is not there.

    Args:
      uri: str, as `open_source` takes it.
      argument: str, what `uri` was given as, for errors.

    Raises:
      FileNotFoundError: if `folder:` is told no folder.
      ValueError: if the scheme is unknown or nothing follows it.
    """
    scheme, rest = parted(uri, argument)
    if scheme == "folder":
        check_folder(os.path.expanduser(rest), argument)


def parted(uri, argument):
    """Scheme of a URI, and what follows; see `check_uri`."""
    scheme, colon, rest = uri.partition(":")
    shown = one_line(uri)
    if not colon or scheme not in _SCHEMES:
        raise ValueError(
            f"{argument} must be a URI such as {_EXAMPLES}. Received: "
            f"{argument}={shown}." + _suggestion(uri)
        )
    if scheme != "digits" and "\0" in uri:
        raise ValueError(
            f"{argument} must name a path, which has no character 0. Received: "
            f"{argument}={shown}."
        )
    if not rest and scheme != "digits":
        raise ValueError(
            f"{argument}={shown} names no path. Write {_EXAMPLES}."
        )
    return scheme, rest


def check_folder(folder, argument):
    """Raises FileNotFoundError where `folder`, a path, is none."""
    if not os.path.isdir(folder):
        what = "a file" if os.path.exists(folder) else "nothing"
        raise FileNotFoundError(
            f"{argument}=folder: expects a folder of images. Found {what} at "
            f"{one_line(folder)}."
        )


def _suggestion(uri):
    path, shown = os.path.expanduser(uri), one_line(uri)
    if os.path.isdir(path):
        return f" Write folder:{shown}."
    if os.path.isfile(path) and path.endswith(".npz"):
        return f" Write npz:{shown}?images=<array>."
    if os.path.isfile(path):
        return f" Write tfrecord:{shown} if it is a TFRecord file."
    return ""
