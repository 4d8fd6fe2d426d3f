"""`npz:/file?images=x_train&labels=y_train`: arrays of a NumPy file.

Images are uint8 `[N, H, W]`, `[N, H, W, 1]` or `[N, H, W, 3]`; labels integers
`[N]` or `[N, 1]`. Names of classes are taken from an array `class_names`, where
there is one. Everything is read into memory.
"""

import os
import zipfile
import zlib

import numpy as np

from tfclust.data.source import ArraySource

_CLASS_NAMES = "class_names"


def open_npz(path, images, labels=None, *, max_images=None, argument="data"):
    """The `ArraySource` of two arrays in a file.

    Args:
      path: `~` stands for the home folder.
      images: str, name of the array of images.
      labels: str, name of that of labels; None for none.
      max_images: int, only the first so many; None for all.
      argument: str, what the file was given as, for errors.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is no NumPy archive, has no such arrays, or they are
        no images or labels.
    """
    asked = f"{argument}=npz:{path}"
    file = os.path.expanduser(path)
    try:
        if os.path.exists(file) and not zipfile.is_zipfile(file):
            raise zipfile.BadZipFile("File is not a zip file")
        with np.load(file) as arrays:
            pixels = _array(arrays, images, "images", asked)[:max_images]
            numbers = classes = None
            if labels is not None:
                numbers = _array(arrays, labels, "labels", asked)[:max_images]
                classes = _class_names(arrays)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{asked}: expected a NumPy archive (.npz). Found nothing there."
        ) from None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{asked} is no readable NumPy archive (.npz): {error}. Write it "
            "with numpy.savez."
        ) from error
    if numbers is not None and numbers.ndim == 2 and numbers.shape[1] == 1:
        numbers = numbers[:, 0]
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        pixels = pixels[..., 0]
    _check(asked, images, pixels, labels, numbers)
    if numbers is not None and classes and numbers.max() >= len(classes):
        classes = None  # they are not these labels' names
    uri = f"npz:{path}?images={images}"
    return ArraySource(
        pixels,
        numbers,
        class_names=classes,
        uri=uri if labels is None else f"{uri}&labels={labels}",
    )


def _array(arrays, name, what, asked):
    if name not in arrays.files:
        raise ValueError(
            f"{asked} has no array {name}. Write {what}=<name> with one of: "
            f"{', '.join(arrays.files) or 'none'}."
        )
    try:
        return np.atleast_1d(arrays[name])
    except ValueError as error:  # Python objects, which could run code
        raise ValueError(
            f"{asked}: {what} must be an array of numbers. Received: {name}, "
            "an array of Python objects."
        ) from error


def _class_names(arrays):
    if _CLASS_NAMES not in arrays.files:
        return None
    try:
        names = arrays[_CLASS_NAMES]
    except ValueError:  # Python objects
        return None
    return [str(name) for name in np.atleast_1d(names)]


def _check(asked, images, pixels, labels, numbers):
    """Refuses by the arrays' names; `ArraySource` does by its arguments'."""
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
            f"{asked}: labels must be one integer an image. Received: {labels} "
            f"of type {numbers.dtype} and shape {numbers.shape} for "
            f"{len(pixels)} images."
        )
