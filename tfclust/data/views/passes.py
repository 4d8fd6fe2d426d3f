"""Images as evaluation and a deployed model see them: resized, then the centre.

The short side is resized with antialiasing (`tf.image.resize`, whose triangle
kernel is Pillow's), then the centre is cut out. If an image can no longer be
read, the row holds another, drawn from (step, row) of the pass.
"""

import tensorflow as tf

from tfclust.data.views import pipeline, sampling
from tfclust.data.views.sizes import checked_resize
from tfclust.runtime import parallel

# Up to so many bytes, a pass that comes again keeps what it has read.
KEPT_BYTES = 1 << 29
_KEY = sampling.key_of(0, "evaluation")
_LONG = 8  # long to short side; above that, the part is cut out first


def resized_sides(height, width, short_side):
    """Height and width with the shorter one at `short_side`, rounded down.

    int64: a line of 10 million pixels would overflow int32.
    """
    height, width = tf.cast(height, tf.int64), tf.cast(width, tf.int64)
    short = tf.minimum(height, width)
    return short_side * height // short, short_side * width // short


def centred(images, resize_size, image_size):
    """Images for evaluation.

    If the long side is more than 8 times the short one, the part that the crop
    will see is cut out first: a line of 4,000 pixels, resized whole, would
    become 256 x 1,024,000. Single pixels may then differ by 1 grey level from
    those of the whole image, whose positions float32 rounds more coarsely.

    Args:
      images: uint8 `[..., H, W, 3]`, rank 3 or 4.
      resize_size: int, short side after resizing.
      image_size: int S, side of the centre crop.

    Returns:
      uint8 `[..., S, S, 3]`.
    """
    shape = tf.shape(images, out_type=tf.int64)[-3:-1]
    sides = tf.stack(resized_sides(shape[0], shape[1], resize_size))
    begin = (sides - image_size) // 2

    def resized():
        size = tf.cast(sides, tf.int32)
        return _as_bytes(tf.image.resize(images, size, antialias=True))

    def resized_whole():
        same = tf.reduce_all(sides == shape)
        whole = tf.cond(same, lambda: images, resized)
        (top, left), (end, right) = map(tf.unstack, (begin, begin + image_size))
        return whole[..., top:end, left:right, :]

    def cut_first():
        return _as_bytes(_resized_part(images, sides, begin, image_size))

    is_long = tf.reduce_max(shape) > _LONG * tf.reduce_min(shape)
    images = tf.cond(is_long, cut_first, resized_whole)
    static = [*images.shape[:-3], image_size, image_size, 3]
    return tf.ensure_shape(images, static)


def ten_crops(images, resize_size, image_size):
    """The four corners and the centre, and their mirror images.

    Of an image whose long side is more than 8 times the short one, the middle
    part of that shape.

    Args:
      images: uint8 `[..., H, W, 3]`, rank 3 or 4.
      resize_size: int, short side after resizing.
      image_size: int S, side of the crops.

    Returns:
      uint8 `[..., 10, S, S, 3]`.

    Source:
      Krizhevsky et al. 2012, section 4.1; torchvision's `TenCrop`.
    """
    shape = tf.shape(images, out_type=tf.int64)[-3:-1]
    most = tf.minimum(shape, _LONG * tf.reduce_min(shape))
    begin = (shape - most) // 2
    (top, left), (end, right) = map(tf.unstack, (begin, begin + most))
    images = images[..., top:end, left:right, :]
    sides = tf.stack(resized_sides(most[0], most[1], resize_size))

    def resized():
        size = tf.cast(sides, tf.int32)
        return _as_bytes(tf.image.resize(images, size, antialias=True))

    whole = tf.cond(tf.reduce_all(sides == most), lambda: images, resized)
    last = sides - image_size
    middle = last // 2
    places = [
        (0, 0),
        (0, last[1]),
        (last[0], 0),
        (last[0], last[1]),
        (middle[0], middle[1]),
    ]
    five = [
        whole[..., top : top + image_size, left : left + image_size, :]
        for top, left in places
    ]
    crops = tf.stack([*five, *(crop[..., ::-1, :] for crop in five)], axis=-4)
    static = [*images.shape[:-3], 10, image_size, image_size, 3]
    return tf.ensure_shape(crops, static)


CUTS = {"centre": centred, "ten": ten_crops}


def _resized_part(images, sides, begin, size):
    """A part of `images` resized to `sides`, float32 `[..., size, size, 3]`.

    Nothing else is computed. Positions are float64, which has room for both a
    pixel's number and its fraction.

    Args:
      images: uint8 `[..., H, W, 3]`.
      sides: int64 `[2]`, resized height and width.
      begin: int64 `[2]`, the part's first row and column in them.
      size: int.
    """
    shape = tf.shape(images, out_type=tf.int64)[-3:-1]
    scale = tf.cast(sides, tf.float64) / tf.cast(shape, tf.float64)
    start = tf.cast(begin, tf.float64)
    # The triangle reaches one pixel of the larger grid; one more is a reserve.
    reach = tf.maximum(1 / scale, 1) + 1
    first = tf.cast(tf.floor(start / scale - reach), tf.int64)
    last = tf.cast(tf.math.ceil((start + size) / scale + reach), tf.int64)
    first, last = tf.maximum(first, 0), tf.minimum(last, shape)
    part = images[..., first[0] : last[0], first[1] : last[1], :]
    inner = tf.shape(part)[-3:]
    smooth = tf.raw_ops.ScaleAndTranslate(
        images=tf.reshape(part, tf.concat([[-1], inner], 0)),
        size=[size, size],
        scale=tf.cast(scale, tf.float32),
        translation=tf.cast(
            tf.cast(first, tf.float64) * scale - start, tf.float32
        ),
        kernel_type="triangle",
        antialias=True,
    )
    outer = tf.shape(images)[:-3]
    return tf.reshape(smooth, tf.concat([outer, [size, size, 3]], 0))


def _as_bytes(smooth):
    return tf.cast(tf.clip_by_value(smooth, 0, 255) + 0.5, tf.uint8)


def num_bytes(num_images, image_size):
    """Bytes of all images of a pass."""
    return 3 * num_images * image_size**2


def evaluation_batches(
    source,
    *,
    image_size,
    batch_size,
    resize_size=None,
    keep=False,
    first=0,
    crops="centre",
    num_shards=1,
    shard=0,
):
    """A pass over all images of `source` in index order, resized and cropped.

    The last batch is filled with the first images; `mask` is False there.

    Args:
      source: `Source`.
      image_size: int S, side of the centre crop.
      batch_size: int, global.
      resize_size: int, short side before the crop; None for
        `default_resize(image_size)`.
      keep: whether the first pass keeps its images in memory for the next.
      first: int, the index to begin with, a multiple of `batch_size`.
      crops: of `CUTS`: "centre", or "ten" for `ten_crops`.
      num_shards: int, replicas that share a batch, with b = batch_size /
        num_shards rows each. shard: int, which of them this is.

    Returns:
      `tf.data.Dataset` of dicts: `images` uint8 `[b, S, S, 3]`, or
      `[b, 10, S, S, 3]`; `index` int64 `[b]`, `mask` bool `[b]`.

    Raises:
      ValueError: if `resize_size` is smaller than `image_size`, or rows cannot
        be divided evenly.
    """
    rows = pipeline.rows_of(batch_size, num_shards, shard)
    elements = pass_over_all(source.num_images, batch_size, rows)
    elements = elements.skip(first // batch_size)  # nothing is decoded yet
    resize_size = checked_resize(image_size, resize_size)
    return batches_of(
        source,
        elements,
        rows,
        image_size,
        resize_size,
        keep=keep,
        cut=CUTS[crops],
    )


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


def batches_of(
    source,
    elements,
    rows,
    image_size,
    resize_size,
    *,
    keep=False,
    cut=centred,
    keep_index=True,
):
    """`{"images", "index", "mask"}` for elements of `pass_over_all`.

    `keep_index`: whether `index` stays the row's own if another image is read
    instead, as a pass over all needs it; a label must be that of the other.
    """

    def finished(batches):
        return parallel.finished(batches.cache() if keep else batches)

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
            kept = kept if keep_index else {**kept, "index": index}
            return {**kept, "images": cut(images, resize_size, image_size)}

        return finished(parallel.map_batches(elements, cut_rows))

    def cut_image(kept, wanted):
        data, choice = source.fetch(wanted)
        image = source.fetched(data, wanted[choice])
        kept = kept if keep_index else {**kept, "index": wanted[choice]}
        return {**kept, "images": cut(image, resize_size, image_size)}

    images = parallel.map_images(elements.unbatch(), cut_image)
    return finished(images.batch(rows.num, drop_remainder=True))
