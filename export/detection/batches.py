"""Batches of canvases with boxes; (seed, step) is the whole data position."""

import numpy as np
import tensorflow as tf

from export.detection import jitter
from tfclust.data.reading import decoding
from tfclust.data.sources.base import LOST
from tfclust.runtime import parallel
from tfclust.runtime.terminal import one_line

NONE = -1.0  # pads boxes and labels: no box


def training(data, side, batch_size, config, epoch, first_batch=0):
    """The batches of an epoch, from one of them on.

    Args:
      data: `Annotated`. side: int S of the canvas. batch_size: int.
      config: has `seed`, `flip_probability` and `scale_jitter`.
      epoch: int. first_batch: int, batches of the epoch to leave out.

    Returns:
      `tf.data.Dataset` of (images uint8 `[B, S, S, 3]`, boxes float32
      `[B, M, 4]`, labels float32 `[B, M]`), the last two filled up with -1. An
      incomplete last batch is left out.
    """
    count = len(data.names)
    order = np.random.default_rng([config.seed, epoch]).permutation(count)
    order = order[: count // batch_size * batch_size]
    order = order[first_batch * batch_size :]
    places = [
        jitter.drawn(data.sizes[i], side, config, (config.seed, epoch, i))
        for i in order
    ]
    return _batches(data, order, places, side, batch_size)


def whole(data, side, batch_size):
    """All images in order, without chance, as `training` has them."""
    order = np.arange(len(data.names))
    places = [jitter.whole(size, side) for size in data.sizes]
    return _batches(data, order, places, side, batch_size)


def _batches(data, order, places, side, batch_size):
    most = max((len(one) for one in data.boxes), default=0) or 1
    boxes = np.full([len(order), most, 4], NONE, np.float32)
    labels = np.full([len(order), most], NONE, np.float32)
    for row, (i, place) in enumerate(zip(order, places, strict=True)):
        found, visible = jitter.placed_boxes(
            data.boxes[i], data.sizes[i], place, side
        )
        visible &= ~data.ignored[i]
        boxes[row, : visible.sum()] = found[visible]
        labels[row, : visible.sum()] = data.labels[i][visible]
    columns = {
        "index": order.astype(np.int64),
        "careful": data.careful[order],
        "turn": data.turns[order],
        "sides": np.array([p.sides for p in places], np.int32),
        "begin": np.array([p.begin for p in places], np.int32),
        "flip": np.array([p.flip for p in places], bool),
        "boxes": boxes,
        "labels": labels,
    }
    rows = tf.data.Dataset.from_tensor_slices(columns)

    def laid(row):
        image = _pixels(data, row["index"], row["careful"], row["turn"])
        where = row["sides"], row["begin"], row["flip"]
        image = jitter.canvas(image, *where, side)
        return image, row["boxes"], row["labels"]

    images = parallel.map_images(rows, laid)
    return parallel.finished(images.batch(batch_size))


def _pixels(data, index, careful, turn):
    """uint8 `[H, W, 3]` of an image; boxes lie on these."""

    def read(index):
        try:
            return data.read(int(index))
        except OSError as error:
            why = error.strerror or str(error)
            name = one_line(data.names[index])
            raise OSError(f"{name} cannot be read ({why}). {LOST}") from error

    encoded = tf.numpy_function(read, [index], tf.string, stateful=False)
    return decoding.decode_checked(
        tf.ensure_shape(encoded, []), None, turn, careful
    )
