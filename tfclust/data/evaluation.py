"""Images as evaluation and a deployed model see them: resized, then the centre.

The short side is resized with antialiasing (`tf.image.resize`, whose triangle
kernel is Pillow's), then the centre is cut out. Where an image can no longer
be read, the row holds another, drawn from (step, row) of the pass.
"""

import tensorflow as tf

from tfclust.data import parallel, pipeline, sampling

_KEY = sampling.key_of(0, "evaluation")


def default_resize(image_size):
    """Short side before the centre crop: 256 for 224; below 96 px, the crop."""
    return round(image_size / 0.875) if image_size >= 96 else image_size


def resized_sides(height, width, short_side):
    """Height and width with the short one at `short_side`, rounded down."""
    short = tf.minimum(height, width)
    return short_side * height // short, short_side * width // short


def centred(images, resize_size, image_size):
    """Images for evaluation.

    Args:
      images: uint8 `[..., H, W, 3]`, rank 3 or 4.
      resize_size: int, short side after resizing.
      image_size: int S, side of the centre crop.

    Returns:
      uint8 `[..., S, S, 3]`.
    """
    shape = tf.shape(images)
    height, width = resized_sides(shape[-3], shape[-2], resize_size)
    same = (height == shape[-3]) & (width == shape[-2])

    def resized():
        smooth = tf.image.resize(images, [height, width], antialias=True)
        return tf.cast(tf.clip_by_value(smooth, 0, 255) + 0.5, tf.uint8)

    images = tf.cond(same, lambda: images, resized)
    top = (height - image_size) // 2
    left = (width - image_size) // 2
    images = images[..., top : top + image_size, left : left + image_size, :]
    static = [*images.shape[:-3], image_size, image_size, 3]
    return tf.ensure_shape(images, static)


def checked_resize(image_size, resize_size):
    """`resize_size`, or the default for `image_size` where it is None.

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


def evaluation_batches(source, *, image_size, batch_size, resize_size=None):
    """A pass over all images of `source` in index order, resized and cropped.

    The last batch is filled with the first images; `mask` is False there.

    Args:
      source: `Source`.
      image_size: int S, side of the centre crop.
      batch_size: int.
      resize_size: int, short side before the crop; None for
        `default_resize(image_size)`.

    Returns:
      `tf.data.Dataset` of dicts: `images` uint8 `[b, S, S, 3]`, `index` int64
      `[b]`, `mask` bool `[b]`.

    Raises:
      ValueError: if `resize_size` is smaller than `image_size`, or rows do not
        come out even.
    """
    rows = pipeline.rows_of(batch_size, 1, 0)
    elements = pass_over_all(source.num_images, batch_size, rows)
    resize_size = checked_resize(image_size, resize_size)
    return batches_of(source, elements, rows, image_size, resize_size)


def pass_over_all(num_images, batch_size, rows, index_of=None):
    """Elements of a pass over all images, with a mask of the padding.

    The last batch is filled with the images at the first positions.

    Args:
      num_images: int N.
      batch_size: int, global.
      rows: `pipeline.Rows`.
      index_of: function of positions int64 `[b]` in [0, N) -> index `[b]`, a
        permutation; None for index order.

    Returns:
      Dataset of `{"step", "first_row", "index", "mask"}`.
    """
    num_steps = -(-num_images // batch_size)
    elements = pipeline.pass_rows(
        rows, num_steps, batch_size, lambda positions: positions
    )

    def masked(element):
        positions = element["index"]
        index = positions % num_images
        return {
            **element,
            "index": index if index_of is None else index_of(index),
            "mask": positions < num_images,
        }

    return parallel.map_plainly(elements, masked)


def batches_of(source, elements, rows, image_size, resize_size):
    """`{"images", "index", "mask"}` for elements of `pass_over_all`."""

    def with_others(element):
        kept = {"index": element["index"], "mask": element["mask"]}
        others = sampling.replacements(
            _KEY,
            element["step"],
            element["first_row"],
            num_rows=rows.num,
            num_images=source.num_images,
        )
        return kept, tf.concat([element["index"][:, None], others], axis=1)

    elements = parallel.map_plainly(elements, with_others)
    store = source.stored()
    if store is not None:

        def cut_rows(kept, wanted):
            index = pipeline.first_present(wanted, source.missing)
            images = tf.gather(store, index)[:, 1:-1, 1:-1]
            return {**kept, "images": centred(images, resize_size, image_size)}

        return parallel.finished(parallel.map_batches(elements, cut_rows))

    def cut_image(kept, wanted):
        data, choice = source.fetch(wanted)
        image = source.fetched(data, wanted[choice])
        return {**kept, "images": centred(image, resize_size, image_size)}

    images = parallel.map_images(elements.unbatch(), cut_image)
    return parallel.finished(images.batch(rows.num, drop_remainder=True))
