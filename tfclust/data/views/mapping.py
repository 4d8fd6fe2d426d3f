"""A function over all images of a source, as evaluation sees them."""

import numpy as np
import tensorflow as tf

from tfclust.data.sources.encoded import telling_lost_images
from tfclust.data.views.passes import evaluation_batches
from tfclust.ops.pixels import as_floats


@telling_lost_images()
def map_images(
    function, source, *, image_size, resize_size=None, batch_size=256
):
    """What a function makes of each image, in index order.

    One batch of images is in memory at a time.

    Args:
      function: float32 images `[B, S, S, 3]` in [0, 1] to a nest of tensors
        `[B, ...]`; traced without AutoGraph, so it must branch on tensors by
        `tf.cond`.
      source: `Source`.
      image_size: int S, side of the centre crop.
      resize_size: int, short side before the crop; None for
        `default_resize(image_size)`.
      batch_size: int, images in a call.

    Returns:
      The same nest of arrays `[N, ...]`.

    Raises:
      OSError: if images are gone, and their replacements too.
    """
    batches = evaluation_batches(
        source,
        image_size=image_size,
        resize_size=resize_size,
        batch_size=min(batch_size, source.num_images),
    )

    @tf.function(autograph=False)
    def compute(images):
        return function(as_floats(images))

    # Batches have one shape. If it were traced at its first call, it would be
    # one more new function at this place, and TensorFlow warns after a few of
    # them.
    compute = compute.get_concrete_function(batches.element_spec["images"])
    found = None
    for batch in batches:
        rows = tf.nest.map_structure(np.asarray, compute(batch["images"]))
        if found is None:
            found = tf.nest.map_structure(
                lambda x: np.empty((source.num_images, *x.shape[1:]), x.dtype),
                rows,
            )
        kept = batch["mask"].numpy()
        index = batch["index"].numpy()[kept]
        for whole, part in zip(
            tf.nest.flatten(found), tf.nest.flatten(rows), strict=True
        ):
            whole[index] = part[kept]
    return found
