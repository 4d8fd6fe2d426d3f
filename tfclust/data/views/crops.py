"""Random resized crops: boxes drawn for a batch at once, and two ways to cut.

A crop takes a share of the image's area at a random aspect ratio, as
torchvision's `RandomResizedCrop` does (ten tries, then the centre).

`crop_and_resize` cuts all crops of a batch in one call from images of one
size. Boxes are not rounded to whole pixels, so that images of a few pixels
still give many crops. `cut` takes one crop of one image, in whole pixels as
torchvision does, and several times faster for large crops. Both read pixels by
bilinear interpolation at pixel centres, as Pillow does. Where a crop shrinks,
`cut` can read through a triangle kernel as wide as the step between samples:
Pillow's antialiased bilinear.
"""

import numpy as np
import tensorflow as tf

NUM_TRIES = 10
NUM_UNIFORMS = 2 * NUM_TRIES + 2


def random_boxes(uniforms, heights, widths, scales, aspect_ratio):
    """Boxes of random resized crops.

    Args:
      uniforms: float32 `[b, V, NUM_UNIFORMS]` in [0, 1).
      heights: int `[b]`, pixels. widths: int `[b]`.
      scales: float array `[V, 2]`, smallest and largest share of the area.
      aspect_ratio: float >= 1; width / height lies in [1 / a, a].

    Returns:
      float32 `[b, V, 4]`: top, left, height, width in pixels, in the image.
    """
    # In float64: the last bit of float32's exp depends on a number's position
    # in the tensor, and so on how a batch is split.
    uniforms = tf.cast(uniforms, tf.float64)
    share, tilt, place = tf.split(uniforms, [NUM_TRIES, NUM_TRIES, 2], axis=-1)
    image_h = tf.cast(heights, tf.float64)[:, None, None]  # [b, 1, 1]
    image_w = tf.cast(widths, tf.float64)[:, None, None]
    low, high = np.asarray(scales, np.float64)[None, :, None].transpose(
        3, 0, 1, 2
    )  # [1, V, 1] each
    area = (low + (high - low) * share) * image_h * image_w  # [b, V, tries]
    ratio = tf.exp((2 * tilt - 1) * np.log(aspect_ratio))
    crop_w, crop_h = tf.sqrt(area * ratio), tf.sqrt(area / ratio)
    fits = (crop_w <= image_w) & (crop_h <= image_h)
    # If no try fits: the largest crop of an allowed ratio, at the centre.
    last_ratio = image_w / image_h
    last_ratio = tf.clip_by_value(last_ratio, 1 / aspect_ratio, aspect_ratio)
    last_w = tf.minimum(image_w, image_h * last_ratio)
    last_h = tf.minimum(image_h, image_w / last_ratio)
    first = tf.argmax(tf.cast(fits, tf.int32), axis=-1)  # [b, V]
    found = tf.reduce_any(fits, axis=-1, keepdims=True)  # [b, V, 1]

    def chosen(tries, last):
        of_tries = tf.gather(tries, first, batch_dims=2)[..., None]
        return tf.where(found, of_tries, last)

    size = tf.concat([chosen(crop_h, last_h), chosen(crop_w, last_w)], axis=-1)
    free = tf.concat([image_h, image_w], axis=-1) - size  # [b, V, 2]
    corner = tf.maximum(free, 0) * tf.where(found, place, 0.5)
    return tf.cast(tf.concat([corner, size], axis=-1), tf.float32)


def dct_ratio(boxes, view_sizes, jpeg):
    """By how much each image is decoded smaller: 8, 4, 2 or 1.

    The largest ratio at which none of the image's crops has to be enlarged.

    Args:
      boxes: float32 `[b, V, 4]`. view_sizes: int array `[V]`.
      jpeg: bool `[b]`, False allows no ratio but 1.

    Returns:
      int32 `[b]`.
    """
    steps = boxes[..., 2:] / np.array(view_sizes, np.float32)[:, None]
    room = tf.reduce_min(steps, axis=[1, 2])
    halvings = tf.reduce_sum(tf.cast(room[:, None] >= [2, 4, 8], tf.int32), 1)
    return tf.where(jpeg, tf.bitwise.left_shift(1, halvings), 1)


def whole_pixels(boxes, heights, widths, ratio):
    """Boxes in whole pixels of images that are decoded `ratio` times smaller.

    Args:
      boxes: float32 `[b, V, 4]` in pixels of the full image.
      heights: int32 `[b]`. widths: int32 `[b]`. ratio: int32 `[b]`.

    Returns:
      begins and extents, int32 `[b, V, 3]`, for `tf.slice`.
    """
    ratio = ratio[:, None]
    limits = tf.stack([heights, widths], axis=-1)
    limits = ((limits + ratio - 1) // ratio)[:, None]  # [b, 1, 2]
    boxes = tf.cast(
        tf.round(boxes / tf.cast(ratio[..., None], tf.float32)), tf.int32
    )
    extents = tf.clip_by_value(boxes[..., 2:], 1, limits)
    begins = tf.minimum(boxes[..., :2], limits - extents)
    corner = tf.zeros_like(begins[..., :1])
    return (
        tf.concat([begins, corner], axis=-1),
        tf.concat([extents, corner + 3], axis=-1),
    )


def needs_antialias(extents, view_sizes, antialias_from):
    """Which crops shrink by `antialias_from` or more.

    Args:
      extents: int32 `[b, V, 3]` from `whole_pixels`.
      view_sizes: int array `[V]`.
      antialias_from: float >= 1. A crop of its view's size does not shrink.

    Returns:
      bool `[b, V]`.
    """
    longest = tf.reduce_max(extents[..., :2], axis=-1)
    sizes = np.array(view_sizes)
    least = np.maximum(np.ceil(antialias_from * sizes), sizes + 1)
    return longest >= least.astype(np.int32)


def crop_and_resize(padded, owners, boxes, mirrored, view_size):
    """Bilinear crops, without antialiasing.

    Args:
      padded: uint8 `[n, H+2, W+2, 3]` from `with_edge`.
      owners: int32 `[m]`, the image of each crop.
      boxes: float32 `[m, 4]`, top, left, height, width in pixels of the image.
      mirrored: bool `[m]`, flip left to right.
      view_size: int S.

    Returns:
      uint8 `[m, S, S, 3]`.
    """
    last = tf.cast(tf.shape(padded)[1:3] - 1, tf.float32)  # [2]
    corner, size = boxes[:, :2], boxes[:, 2:]
    # Centres of the first and the last sample, in pixels of the padded image;
    # the pad (+1) and the pixel centre (-1/2) make +1/2.
    half_step = size / (2 * view_size)
    start = (corner + half_step + 0.5) / last
    stop = (corner + size - half_step + 0.5) / last
    top, left = tf.unstack(start, axis=1)
    bottom, right = tf.unstack(stop, axis=1)
    left, right = (  # swapped corners are read from right to left
        tf.where(mirrored, right, left),
        tf.where(mirrored, left, right),
    )
    crops = tf.raw_ops.CropAndResize(
        image=padded,
        boxes=tf.stack([top, left, bottom, right], axis=1),
        box_ind=owners,
        crop_size=[view_size, view_size],
    )
    return tf.cast(crops + 0.5, tf.uint8)


def cut(image, begin, extent, smooth, mirrored, view_size):
    """One crop of one image, antialiased where it needs it.

    Args:
      image: uint8 `[H, W, 3]`.
      begin: int32 `[3]`. extent: int32 `[3]`; from `whole_pixels`.
      smooth: scalar bool, from `needs_antialias`.
      mirrored: scalar bool, flip left to right.
      view_size: int S.

    Returns:
      uint8 `[S, S, 3]`.
    """
    part = tf.slice(image, begin, extent)[None]
    size = [view_size, view_size]

    def antialiased():
        return tf.raw_ops.ScaleAndTranslate(
            images=part,
            size=size,
            scale=view_size / tf.cast(extent[:2], tf.float32),
            translation=[0.0, 0.0],
            kernel_type="triangle",
            antialias=True,
        )

    def plain():
        return tf.raw_ops.ResizeBilinear(
            images=part, size=size, half_pixel_centers=True
        )

    crop = tf.cond(smooth, antialiased, plain)[0]
    crop = tf.cast(crop + 0.5, tf.uint8)
    crop = tf.cond(mirrored, lambda: tf.reverse(crop, [1]), lambda: crop)
    return tf.ensure_shape(crop, [*size, 3])


def rotate(views, angles):
    """Views turned about their centre, bilinear; corners become black.

    Args:
      views: uint8 `[m, S, S, 3]`.
      angles: float32 `[m]`, radians, counter-clockwise as seen.

    Returns:
      uint8 `[m, S, S, 3]`.
    """
    size = views.shape[1]
    cos, sin = tf.cos(angles), tf.sin(angles)
    none = tf.zeros_like(cos)
    middle = (size - 1) / 2  # of the pixels' centres
    # Where a pixel comes from: x' = x cos - y sin, y' = x sin + y cos.
    transforms = tf.stack(
        [
            *(cos, -sin, middle * (1 - cos + sin)),
            *(sin, cos, middle * (1 - sin - cos)),
            *(none, none),
        ],
        axis=1,
    )  # [m, 8]
    turned = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(views, tf.float32),
        transforms=transforms,
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(tf.cast(turned + 0.5, tf.uint8), views.shape)
