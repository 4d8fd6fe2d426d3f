"""Feature maps of whole photos: those of a layer of a Keras model.

A photo's longer side becomes 1,024 pixels, its shape stays, and a query's box
is cut out afterwards, as DeepCluster's evaluation does it.
"""

import numpy as np

from tfclust import data
from tfclust.runtime import parallel, progress, terminal

PIXELS = 32  # of the baseline without a network, as in tfclust.evaluate


def map_function(backbone, layer=""):
    """A function from one photo to a layer's output.

    Args:
      backbone: a functional `keras.Model`.
      layer: str, name of a layer with maps; empty for the last such.

    Returns:
      function of float32 `[H, W, 3]` in [0, 1] to float32 array `[h, w, C]`;
      and the layer's name.

    Raises:
      ValueError: if there is no such layer.
    """
    import keras
    import tensorflow as tf

    with_maps = {
        operation.name: operation.output
        for operation in backbone.operations
        if _is_map(operation)
    }
    if not with_maps or layer and layer not in with_maps:
        last = ", ".join(list(with_maps)[-8:]) or "none"
        raise ValueError(
            "layer must be one whose output is a map [B, h, w, C]. Received: "
            f"layer={layer or 'empty'}; the last ones are {last}."
        )
    name = layer or list(with_maps)[-1]
    model = _of_any_size(keras.Model(backbone.inputs[0], with_maps[name]))

    # One trace for photos of any size.
    @tf.function(
        input_signature=[tf.TensorSpec([None, None, 3], tf.float32)],
        autograph=False,
    )
    def maps(image):
        return tf.cast(model(image[None], training=False)[0], tf.float32)

    return lambda image: maps(image).numpy(), name


def _of_any_size(model):
    """A network of maps that takes images of any height and width."""
    import keras

    if model.input_shape[1] is None:
        return model
    images = keras.Input([None, None, 3])
    free = keras.models.clone_model(model, input_tensors=images)
    free.set_weights(model.get_weights())
    return free


def _is_map(operation):
    output = getattr(operation, "output", None)
    shape = getattr(output, "shape", None)
    return shape is not None and len(shape) == 4 and operation.input is not None


def tiny_pixels(image):
    """The photo itself, averaged down to 32 x 32: one vector `[1, F]`."""
    return averaged(image).numpy().reshape(1, -1)


def averaged(images):
    """`images` `[..., H, W, 3]` as 32 x 32 pixels."""
    import tensorflow as tf

    return tf.image.resize(images, [PIXELS, PIXELS], antialias=True)


def photos(source, longer_side, boxes=None, words="Photos"):
    """Photos one by one, resized, and cut if they have a box.

    Args:
      source: `data.Source`.
      longer_side: int, pixels.
      boxes: list of (index, box or None), which photos, a box as (left, top,
        right, bottom) in pixels of the stored photo; None for all, uncut.
      words: str, for the progress line.

    Yields:
      int, the place in `boxes`; float32 tensor `[H, W, 3]` in [0, 1].

    Raises:
      OSError: if a photo can no longer be read.
    """
    import tensorflow as tf

    if boxes is None:
        boxes = [(index, None) for index in range(source.num_images)]
    wanted = tf.data.Dataset.from_tensor_slices(
        np.array([index for index, _ in boxes], np.int64)
    )
    resized = parallel.map_images(
        wanted, lambda index: resize_longer(source.image(index), longer_side)
    )
    with (
        progress.line(words, len(boxes)) as line,
        data.telling_lost_images(),
    ):
        for place, (image, ratio) in enumerate(parallel.finished(resized)):
            box = boxes[place][1]
            yield place, image if box is None else cut(image, box, float(ratio))
            line.update(1)


def resize_longer(image, longer_side):
    """Floats in [0, 1] with that longer side, from uint8; and the ratio."""
    import tensorflow as tf

    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    ratio = longer_side / tf.reduce_max(sides)
    size = tf.maximum(1, tf.cast(tf.round(sides * ratio), tf.int32))
    image = tf.image.resize(image, size, antialias=True)
    return tf.clip_by_value(image / 255.0, 0.0, 1.0), ratio


def cut(image, box, ratio):
    """The part of a resized photo in a box of the stored one."""
    height, width = image.shape[:2]
    left, top, right, bottom = (int(round(x * ratio)) for x in box)
    left, top = max(0, min(left, width - 1)), max(0, min(top, height - 1))
    right, bottom = max(left + 1, right), max(top + 1, bottom)
    return image[top:bottom, left:right]


def check_box(box, name, height, width):
    """Raises ValueError if a box does not lie on its photo."""
    left, top, right, bottom = box
    if not (left < right and top < bottom and left < width and top < height):
        raise ValueError(
            f"the box of query {terminal.one_line(name)} must be left, top, "
            f"right, bottom within {width} x {height} pixels. Received: "
            f"{', '.join(f'{x:g}' for x in box)}."
        )
