"""`npz:/file?images=x_train&labels=y_train`: arrays of a NumPy file.

Images are uint8 `[N, H, W]`, `[N, H, W, 1]` or `[N, H, W, 3]`; labels integers
`[N]` or `[N, 1]`. Class names are taken from an array `class_names`, if there
is one. Everything is read into memory.
"""

import contextlib
import os
import zipfile

import numpy as np

from tfclust.data.sources.base import ArraySource
from tfclust.runtime import cores, folders
from tfclust.runtime.terminal import one_line

_CLASS_NAMES = "class_names"


def open_uri(asked):
    """The source for `npz:/file?images=...`; takes a `schemes.Asked`."""
    if "images" not in asked.words:
        raise ValueError(
            f"{asked.argument}={one_line(asked.uri)} does not say which array "
            f"the images are. Write npz:{one_line(asked.path)}"
            "?images=x_train&labels=y_train."
        )
    return open_npz(
        asked.path,
        **asked.words,
        max_images=asked.max_images,
        argument=asked.argument,
    )


def open_npz(path, images, labels=None, *, max_images=None, argument="data"):
    """The `ArraySource` for two arrays in a file.

    Args:
      path: `~` stands for the home folder.
      images: str, name of the array of images.
      labels: str, name of the array of labels; None for no labels.
      max_images: int, only the first this many; None for all.
      argument: str, the argument that named the file, for errors.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is not a NumPy archive, has no such arrays, or they are
        not images or labels.
    """
    shown = one_line(path)
    asked = f"{argument}=npz:{shown}"
    numbers = classes = None
    with _opened(folders.expanded(path), asked) as arrays:
        pixels = _array(arrays, images, "images", asked)[:max_images]
        if labels is not None:
            numbers = _array(arrays, labels, "labels", asked)[:max_images]
            classes = _class_names(arrays)
    if numbers is not None and numbers.ndim == 2 and numbers.shape[1] == 1:
        numbers = numbers[:, 0]
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        pixels = pixels[..., 0]
    _check(asked, images, pixels, labels, numbers)
    if numbers is not None and classes and numbers.max() >= len(classes):
        classes = None  # they do not name these labels
    uri = f"npz:{shown}?images={one_line(images)}"
    return ArraySource(
        pixels,
        numbers,
        class_names=classes,
        uri=uri if labels is None else f"{uri}&labels={one_line(labels)}",
    )


@contextlib.contextmanager
def _opened(file, asked):
    """The `numpy.lib.npyio.NpzFile`."""
    if not os.path.exists(file):
        raise FileNotFoundError(
            f"{asked}: expected a NumPy archive (.npz). Found nothing there."
        )
    if not os.path.isfile(file):  # opening a pipe would wait
        raise _unreadable(asked, "it is not a file")
    with contextlib.ExitStack() as stack:
        try:
            if not zipfile.is_zipfile(file):
                raise zipfile.BadZipFile("File is not a zip file")
            arrays = stack.enter_context(np.load(file))
        except Exception as error:  # of a dozen classes
            raise _unreadable(asked, error) from error
        yield arrays


def _array(arrays, name, what, asked):
    if name not in arrays.files:
        found = ", ".join(map(one_line, arrays.files)) or "none"
        raise ValueError(
            f"{asked} has no array {one_line(name)}. Write {what}=<name> "
            f"with one of: {found}."
        )
    try:
        kind = _refuse_claims(arrays, name)
        if not kind.hasobject:
            return np.atleast_1d(arrays[name])
    # Damaged archives raise errors of a dozen classes: RuntimeError if they are
    # encrypted, NotImplementedError for a compression, LZMAError.
    except Exception as error:
        raise _unreadable(asked, error) from error
    raise ValueError(  # they could run code
        f"{asked}: {what} must be an array of numbers. Received: "
        f"{one_line(name)}, an array of Python objects."
    )


def _refuse_claims(arrays, name):
    """The type in an array's header, without allocating memory for the array.

    Raises:
      ValueError: if it claims another number of bytes than follow it, or more
        than the computer has memory for.
    """
    stored = arrays.zip
    if name not in stored.namelist():
        name = f"{name}.npy"
    with stored.open(name) as file:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read is None:
            raise ValueError(f"{name} has an unknown version, {version}")
        shape, _, kind = read(file)
        found = stored.getinfo(name).file_size - file.tell()
    claimed = kind.itemsize
    for length in shape:  # as Python's numbers, which do not overflow
        claimed *= length
    if not kind.hasobject and claimed != found:
        raise ValueError(f"{name} claims {claimed:,} bytes but has {found:,}")
    if claimed > cores.memory_bytes():
        raise ValueError(
            f"{name} needs {claimed:,} bytes of memory, more than there is"
        )
    return kind


def _unreadable(asked, error):
    """The ValueError for a file; `error` is what NumPy or zipfile says."""
    why = str(error) or type(error).__name__
    return ValueError(
        f"{asked} is not a readable NumPy archive (.npz): "
        f"{one_line(why)[:200]}. Write it with numpy.savez."
    )


def _class_names(arrays):
    if _CLASS_NAMES not in arrays.files:
        return None
    try:
        if _refuse_claims(arrays, _CLASS_NAMES).hasobject:
            return None
        names = arrays[_CLASS_NAMES]
    except Exception:  # damaged, a dozen classes; these are only names
        return None
    return [one_line(str(name)) for name in np.atleast_1d(names)]


def _check(asked, images, pixels, labels, numbers):
    """Refuses with the arrays' names; `ArraySource` knows only its own."""
    is_image = pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] == 3)
    if pixels.dtype != np.uint8 or not is_image or 0 in pixels.shape:
        raise ValueError(
            f"{asked}: images must be uint8 of shape [N, H, W], [N, H, W, 1] "
            f"or [N, H, W, 3]. Received: {images} of type {pixels.dtype} and "
            f"shape {pixels.shape}."
        )
    if numbers is not None and (
        numbers.dtype.kind not in "iu" or numbers.shape != pixels.shape[:1]
    ):
        raise ValueError(
            f"{asked}: labels must be one integer per image. Received: "
            f"{labels} of type {numbers.dtype} and shape {numbers.shape} for "
            f"{len(pixels)} images."
        )
