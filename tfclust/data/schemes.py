"""What a `--data` URI says by itself, before anything is opened.

Imports no TensorFlow, so that a slip of the pen is refused at once.
"""

import os
import pathlib

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
        check_folder(pathlib.Path(rest).expanduser(), argument)


def parted(uri, argument):
    """Scheme of a URI, and what follows; see `check_uri`."""
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme not in _SCHEMES:
        raise ValueError(
            f"{argument} must be a URI such as {_EXAMPLES}. Received: "
            f"{argument}={uri}." + _suggestion(uri)
        )
    if not rest and scheme != "digits":
        raise ValueError(f"{argument}={uri} names no path. Write {_EXAMPLES}.")
    return scheme, rest


def check_folder(folder, argument):
    """Raises FileNotFoundError where `folder`, a `Path`, is none."""
    if not folder.is_dir():
        what = "a file" if folder.exists() else "nothing"
        raise FileNotFoundError(
            f"{argument}=folder: expects a folder of images. Found {what} at "
            f"{folder}."
        )


def _suggestion(uri):
    path = os.path.expanduser(uri)
    if os.path.isdir(path):
        return f" Write folder:{uri}."
    if os.path.isfile(path) and path.endswith(".npz"):
        return f" Write npz:{uri}?images=<array>."
    if os.path.isfile(path):
        return f" Write tfrecord:{uri} if it is a TFRecord file."
    return ""
