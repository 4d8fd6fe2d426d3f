"""Sizes: before evaluation's centre is cut out, and of images that are kept.

Does not import TensorFlow: recipes are checked before it is imported.
"""

import math

import numpy as np


def default_resize(image_size):
    """Short side before the centre crop: 256 for 224; below 96 px, the crop."""
    return round(image_size / 0.875) if image_size >= 96 else image_size


def checked_resize(image_size, resize_size):
    """`resize_size`, or the default for `image_size` if it is None.

    Raises:
      ValueError: if the resized image is smaller than the crop.
    """
    if resize_size is None:
        return default_resize(image_size)
    if resize_size < image_size:
        raise ValueError(
            "resize_size must be at least image_size, or the centre crop "
            f"leaves the image. Received: resize_size={resize_size}, "
            f"image_size={image_size}."
        )
    return resize_size


def stored_size_needed(view_sizes, view_scales):
    """The short side at which an image has the pixels that its views need.

    A crop of a share s of the area has sides of sqrt(s) times the image's. So
    even the smallest crop of each size has as many pixels as its view.

    Args:
      view_sizes: ints, sides of the views in pixels.
      view_scales: pairs, smallest and largest share of the area, one per size.

    Returns:
      int, a value for `ViewsConfig.stored_size`.
    """
    return max(
        math.ceil(size / low**0.5)
        for size, (low, _) in zip(view_sizes, view_scales, strict=True)
    )


def stored_sides(heights, widths, stored_size):
    """Sizes of images whose short side is at most `stored_size`.

    Args:
      heights: int `[N]`, pixels. widths: int `[N]`.
      stored_size: int; images with a shorter side stay as they are.

    Returns:
      int32 `[N]` heights and widths, rounded, of the images' shape.
    """
    heights, widths = (np.asarray(side, np.int64) for side in (heights, widths))
    short = np.maximum(1, np.minimum(heights, widths))
    kept = np.minimum(short, stored_size)
    heights, widths = (
        np.maximum(1, (2 * side * kept + short) // (2 * short)).astype(np.int32)
        for side in (heights, widths)
    )
    return heights, widths


def stored_bytes(heights, widths, stored_size):
    """Memory for the images at `stored_sides`, int.

    Args: those of `stored_sides`.
    """
    heights, widths = stored_sides(heights, widths, stored_size)
    return 3 * int(np.sum(heights.astype(np.int64) * widths))


def check_stored_size(stored_size, largest_view):
    """Raises ValueError if views would be cut from images smaller than they.

    Args:
      stored_size: int, or None.
      largest_view: int, pixels.
    """
    if stored_size is not None and stored_size < largest_view:
        raise ValueError(
            "stored_size must be at least the largest view, or every crop is "
            f"enlarged. Received: stored_size={stored_size}, a view of "
            f"{largest_view} px. Leave it empty for images at full size."
        )
