"""PyTorch's arrays as Keras's: axes, flattened maps, and the images' scale."""

import numpy as np

_TOLERANCE = 1e-6


def converted(array, source):
    """An array in Keras's order of axes, float32.

    Args:
      array: as the checkpoint has it: `[O, I, H, W]` of a convolution, `[O, I]`
        of a dense layer, `[C]` of the rest.
      source: its `networks.Source`.

    Returns:
      `[H, W, I, O]`, `[I, O]` or `[C]`.
    """
    array = np.asarray(array, np.float32)
    if source.parameter != "kernel":
        return array
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if array.ndim == 2:
        return _rows_by_place(array.T, source.channels)
    return array


def _rows_by_place(kernel, channels):
    """Rows `[C * h * w, O]` as `[h * w * C, O]`.

    PyTorch flattens a map channel by channel, TensorFlow place by place.
    """
    if channels is None or len(kernel) % channels:
        return kernel
    by_channel = kernel.reshape(channels, -1, kernel.shape[1])  # [C, h * w, O]
    return by_channel.transpose(1, 0, 2).reshape(kernel.shape)


def scaled_for(backbone, stem, image_std, image_mean):
    """The first kernel for images that `backbone` scales in its own way.

    Between two deviations lies a factor a channel, which a convolution can
    take; so features are those of the published network.

    Args:
      backbone: a functional `keras.Model`, as `build` gives it.
      stem: `[H, W, C, O]`, the first convolution's kernel, for images divided
        by `image_std`.
      image_std, image_mean: floats, red, green and blue.

    Returns:
      `[H, W, C, O]`.

    Raises:
      ValueError: if another mean, or edges of differently scaled colours, leave
        nothing to convert.
    """
    rescaling = backbone.get_layer("normalized")
    own_std = 1 / np.asarray(rescaling.scale)
    own_mean = -np.asarray(rescaling.offset) * own_std
    same_std = np.allclose(own_std, image_std, rtol=_TOLERANCE)
    same_mean = np.allclose(own_mean, image_mean, rtol=_TOLERANCE)
    if same_std and same_mean:
        return stem
    if same_mean and stem.shape[2] == len(image_std):
        factor = own_std / np.asarray(image_std)
        return np.float32(stem * factor[:, None])
    raise ValueError(
        "its network expects images scaled by "
        f"--image_mean={_words(image_mean)} --image_std={_words(image_std)}. "
        f"Received: image_mean={_words(own_mean)}, image_std={_words(own_std)}"
    )


def _words(values):
    return ",".join(f"{value:.6g}" for value in values)
