"""Small pictures of some of a source's images."""

import numpy as np
import tensorflow as tf

from tfclust import data
from tfclust.runtime import pages

# Pixels, the largest for which all pictures of a page have room: 56 of a photo
# are 2 kB.
_SIDES = (56, 48, 40, 32, 24)
_MOST_BYTES = 6_500_000
_PAGE_BYTES = 9_000_000  # with what is beside them, names above all
_BATCH = 128


@data.telling_lost_images()
def pictures(source, indices, beside):
    """`data:` URIs by index, of a size at which the page stays below 10 MB.

    Args:
      source: `data.Source`.
      indices: ints, in any order, each any number of times.
      beside: what else the page's data has, names above all.

    Raises:
      OSError: if images are gone, and their replacements too.
    """
    images = dict(small_images(source, indices, _SIDES[0]))
    most = min(_MOST_BYTES, _PAGE_BYTES - pages.num_bytes(beside))
    found: dict[int, str] = {}
    for side in _SIDES:
        found = {i: pages.thumbnail(image, side) for i, image in images.items()}
        if sum(map(len, found.values())) <= most:
            break
    return found


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
