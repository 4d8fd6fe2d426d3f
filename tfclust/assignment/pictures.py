"""Small pictures of some of a source's images."""

import numpy as np
import tensorflow as tf

from tfclust import data
from tfclust.runtime import pages

_SIDE = 56  # pixels; about 1.5 kB each
_BATCH = 128


@data.telling_lost_images()
def pictures(source, indices):
    """`data:` URIs by index.

    Args:
      source: `data.Source`.
      indices: ints, in any order, each any number of times.

    Raises:
      OSError: if images are gone, and their replacements too.
    """
    return {
        i: pages.thumbnail(image, _SIDE)
        for i, image in small_images(source, indices, _SIDE)
    }


def small_images(source, indices, side, resize_size=None):
    """Yields (index, uint8 `[side, side, 3]`) of some images, each once.

    Args:
      source: `data.Source`.
      indices: ints, in any order, each any number of times.
      side: int, pixels.
      resize_size: int, short side before the centre is cut out; None for
        `side`, which leaves most of the image.
    """
    rows = np.unique(np.asarray(indices, np.int64))
    if not len(rows):
        return
    batches = data.evaluation_batches(
        data.Sample(source, rows),
        image_size=side,
        resize_size=resize_size or side,
        batch_size=min(_BATCH, len(rows)),
    )
    for batch in batches:
        pixels = tf.cast(batch["images"], tf.uint8).numpy()
        kept = batch["mask"].numpy()
        for row, image in zip(
            batch["index"].numpy()[kept], pixels[kept], strict=True
        ):
            yield int(rows[row]), image
