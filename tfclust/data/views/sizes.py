"""Sizes of an image that is resized before its centre is cut out.

Does not import TensorFlow: recipes are checked before it is imported.
"""


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
