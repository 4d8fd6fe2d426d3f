"""Small pictures of some of a source's images, for a page."""

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
    rows = np.unique(np.asarray(indices, np.int64))
    if not len(rows):
        return {}
    batches = data.evaluation_batches(
        data.Sample(source, rows),
        image_size=_SIDE,
        resize_size=_SIDE,
        batch_size=min(_BATCH, len(rows)),
    )
    found = {}
    for batch in batches:
        pixels = tf.cast(batch["images"], tf.uint8).numpy()
        kept = batch["mask"].numpy()
        for row, image in zip(
            batch["index"].numpy()[kept], pixels[kept], strict=True
        ):
            found[int(rows[row])] = pages.thumbnail(image, _SIDE)
    return found
