"""Where images come from: N images, each addressed by a fixed index.

A source knows every image's size before the first step, since each is checked
once (`scan`), and gives pixels inside a `tf.data` pipeline. Labels are for
evaluation; no training batch contains them.
"""

import functools
import hashlib
import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust.runtime import parallel
from tfclust.runtime.terminal import one_line

_LARGEST_LABEL = np.iinfo(np.int64).max

# Images of one size that need no more than this are decoded once and kept.
STORE_LIMIT_BYTES = 1 << 30
LOST = "Is the disk still there?"


class Manifest(NamedTuple):
    """What the images are, in index order, wherever the folder is."""

    names: list  # relative path, or shard and offset, or digest of pixels
    num_bytes: np.ndarray  # int64 [N], as stored
    heights: np.ndarray  # int32 [N], pixels
    widths: np.ndarray  # int32 [N]
    digests: np.ndarray  # int64 [N], of the bytes as stored

    @classmethod
    def of_checked(cls, names, num_bytes, checks):
        """The `Manifest` of stored images, from their rows of `Checks`."""
        num_bytes = np.asarray(num_bytes, np.int64)
        found = checks.heights, checks.widths, checks.digests
        return cls(names, num_bytes, *found)


class Source:
    """N images with stable indices; subclasses implement `image`.

    Attributes:
      uri: str, as a user would write it.
      num_images: int, N.
      labels: int64 `[N]`, or None. For evaluation only.
      label_sets: int8 `[N, C]` where an image may have several labels: 1 for
        those it has, 0 for others, -1 where one should not be asked (VOC's
        difficult); or None. `labels` is None then.
      class_names: tuple of str, or None.
      heights: int32 `[N]`, pixels. widths: int32 `[N]`.
      jpeg: bool `[N]`, images that can be decoded at a half, a quarter or an
        eighth of their size.
      skipped: list of (name, reason), files that are no images.
      notices: list of str, what else a user should know of the labels.
      passed_over: str, the files beside them that are no images by their
        ending, in words; empty for none.
      failures: dict of name -> reason, images that could no longer be read
        after the check.
      missing: bool `[N]`, images that could not be read into `stored()`.
      is_stream: bool, whether each epoch has different images.
      has_masks: bool, whether each image has a class a pixel (`mask`).
    """

    is_stream = False
    has_masks = False

    def __init__(
        self,
        uri,
        manifest,
        *,
        labels=None,
        label_sets=None,
        class_names=None,
        jpeg=None,
        skipped=(),
        notices=(),
        passed_over="",
    ):
        self.uri = uri
        self.num_images = len(manifest.heights)
        self.heights = manifest.heights
        self.widths = manifest.widths
        self.labels = labels
        self.label_sets = label_sets
        self.class_names = class_names
        self.jpeg = np.zeros(self.num_images, bool) if jpeg is None else jpeg
        self.skipped = list(skipped)
        self.notices = list(notices)
        self.passed_over = passed_over
        self.failures = {}
        self.missing = np.zeros(self.num_images, bool)
        self._when_failing = None
        self._manifest = manifest
        self._store = None

    def __repr__(self):
        return f"<{type(self).__name__} {self.uri}: {self.num_images} images>"

    def manifest(self):
        """The `Manifest`."""
        return self._manifest

    @functools.cached_property
    def manifest_hash(self):
        """SHA-256 over names, sizes and what is stored, in order; hex."""
        names, *columns = self._manifest
        digest = hashlib.sha256(os.fsencode("\n".join(names)))
        for column in columns:
            digest.update(np.ascontiguousarray(column, "<i8").tobytes())
        return digest.hexdigest()

    @property
    def is_labelled(self):
        """Whether something is known of the images, of whatever kind."""
        some = self.labels is not None or self.label_sets is not None
        return some or self.has_masks

    def mask(self, position):
        """The bytes of an image's mask: a PNG or the like, a class a pixel.

        Raises:
          OSError: if it cannot be read.
        """
        raise NotImplementedError

    def identities(self):
        """What each image is, to recognise the same image in another source.

        Returns:
          list of N hashable values: for an array, the digest of its pixels; for
          a stored image, the file on the disk and its place in that file.
        """
        return [(self.uri, name) for name in self._manifest.names]

    def num_shared(self, other):
        """How many of its images the source `other` also has.

        Images are the same if their `identities` are, however they were
        reached. If the manifests are equal, as in a copy, all of them are.
        """
        if self.manifest_hash == other.manifest_hash:
            return self.num_images
        return len(set(self.identities()) & set(other.identities()))

    def begin_epoch(self, epoch):
        """Called before the batches of an epoch are made; for streams."""

    def column(self, name):
        """`heights`, `widths` or `jpeg` as a tensor for a pipeline."""
        with tf.device("CPU:0"):
            return tf.constant(getattr(self, name))

    def image(self, index, ratio=None):
        """The pixels of one image, inside a `tf.data` pipeline.

        Args:
          index: scalar int64 tensor.
          ratio: scalar int32 tensor, 1, 2, 4 or 8: by how much a JPEG is
            decoded smaller, `ceil(H / ratio)`; None for full size.

        Returns:
          uint8 `[H, W, 3]`.
        """
        raise NotImplementedError

    def fetch(self, indices, may_fail=False):
        """The first of several images that can be read, inside a pipeline.

        Args:
          indices: int64 tensor `[n]`, the image and others to replace it.
          may_fail: whether it is allowed that none can be read; otherwise that
            is an error.

        Returns:
          What `fetched` takes, a scalar string; and which of `indices` it
          belongs to, a scalar int32, n if none can be read.
        """
        del indices, may_fail  # images in memory can always be read
        return tf.constant(""), tf.constant(0)

    def fetched(self, data, index, ratio=None):
        """The pixels of image `index`, for which `fetch` returned `data`."""
        del data
        return self.image(index, ratio)

    def _lost(self, position, num_others):
        """The error for an image whose replacements are all gone too."""
        name = self._manifest.names[position]
        reason = self.failures.get(name)
        return OSError(
            f"{self.uri}: {one_line(name)} cannot be read ({reason}), "
            f"nor can {num_others} others drawn to replace it. {LOST}"
        )

    def when_failing(self, say):
        """Has `say` called with name and reason of each new failure."""
        self._when_failing = say

    def note_failure(self, name, reason):
        """Lists an image that could no longer be read."""
        if name not in self.failures:
            self.failures[name] = reason
            if self._when_failing is not None:
                self._when_failing(name, reason)

    def stored(self):
        """All images with a repeated border pixel, decoded once and kept.

        Returns:
          uint8 tensor `[N, H + 2, W + 2, 3]` on the CPU, or None if sizes
          differ or the images need more than `STORE_LIMIT_BYTES`.

        Raises:
          OSError: if the disk of the images disappears.
        """
        if self._store is None and self._fits_in_store():
            with tf.init_scope(), tf.device("CPU:0"):
                self._store = self._fill_store()
        return self._store

    def _fits_in_store(self):
        heights, widths = self.heights, self.widths
        if (heights != heights[0]).any() or (widths != widths[0]).any():
            return False
        image_bytes = 3 * (int(heights[0]) + 2) * (int(widths[0]) + 2)
        return self.num_images * image_bytes <= STORE_LIMIT_BYTES

    def _fill_store(self):
        shape = (int(self.heights[0]), int(self.widths[0]), 3)
        rows = min(self.num_images, 256)

        def read(index):
            data, choice = self.fetch(index[None], may_fail=True)
            image = tf.cond(
                choice == 0,
                lambda: self.fetched(data, index),
                lambda: tf.zeros(shape, tf.uint8),
            )
            return tf.ensure_shape(image, shape), choice > 0

        indices = tf.data.Dataset.range(self.num_images)
        images = parallel.map_images(indices, read)
        blocks = parallel.finished(images.batch(rows))
        pixels = np.empty((self.num_images, *shape), np.uint8)
        for i, (block, missing) in enumerate(blocks):
            part = slice(i * rows, i * rows + rows)
            pixels[part], self.missing[part] = block.numpy(), missing.numpy()
        if self.missing.all():
            raise self._lost(0, self.num_images - 1)
        return with_edge(pixels)


class ArraySource(Source):
    """Images held in memory.

    Args:
      images: uint8 `[N, H, W, 3]` or grey `[N, H, W]`, or a list of N arrays
        `[H, W, 3]` or `[H, W]` of any sizes.
      labels: int `[N]`, or None.
      class_names: names of the labels, or None.
      uri: str, the name to show for it.

    Raises:
      ValueError: if images are not uint8 of such shapes, there are none, or
        labels and images differ in number.
    """

    def __init__(self, images, labels=None, *, class_names=None, uri="array:"):
        images = _as_rgb_arrays(images)
        sizes = np.array([image.shape[:2] for image in images], np.int32)
        num_bytes = np.array([image.nbytes for image in images], np.int64)
        digests = [hashlib.sha256(image).hexdigest()[:16] for image in images]
        heights, widths = sizes.T
        in_names = np.zeros(len(images), np.int64)
        manifest = Manifest(digests, num_bytes, heights, widths, in_names)
        super().__init__(
            uri,
            manifest,
            labels=_checked_labels(labels, len(images)),
            class_names=None if class_names is None else tuple(class_names),
        )
        self._images = images

    def identities(self):
        names, *columns = self._manifest
        return list(zip(names, *(c.tolist() for c in columns), strict=True))

    def image(self, index, ratio=None):
        del ratio  # arrays are read at full size
        pixels, offsets, sizes = self._flat
        size = tf.gather(sizes, index)  # [2]
        offset = tf.gather(offsets, index)
        length = 3 * tf.reduce_prod(tf.cast(size, tf.int64))
        part = tf.slice(pixels, [offset], [length])
        return tf.reshape(part, tf.concat([size, [3]], axis=0))

    def _fill_store(self):
        with tf.init_scope(), tf.device("CPU:0"):
            return with_edge(np.asarray(self._images))

    @functools.cached_property
    def _flat(self):
        """All pixels in one array, where each image starts, and its size."""
        lengths = self._manifest.num_bytes
        sizes = np.stack([self.heights, self.widths], axis=1)
        with tf.init_scope(), tf.device("CPU:0"):
            return (
                tf.constant(np.concatenate([i.ravel() for i in self._images])),
                tf.constant(np.cumsum(lengths) - lengths),
                tf.constant(sizes),
            )


def with_edge(pixels):
    """uint8 tensor `[N, H+2, W+2, 3]`, `pixels` with their border doubled.

    `crop_and_resize` uses a constant for what it reads outside; but up to half
    a pixel beyond the outermost pixel centres, an image should continue with
    its border.
    """
    return tf.constant(np.pad(pixels, [(0, 0), (1, 1), (1, 1), (0, 0)], "edge"))


def _as_rgb_arrays(images):
    arrays = [np.asarray(image) for image in images]
    if not arrays:
        raise ValueError(
            "images must hold at least one image. Received: 0 images."
        )
    for i, image in enumerate(arrays):
        grey = image.ndim == 2
        if image.dtype != np.uint8 or not (
            grey or (image.ndim == 3 and image.shape[2] == 3)
        ):
            raise ValueError(
                "images must be uint8 of shape [H, W, 3] or [H, W]. Received: "
                f"image {i} of type {image.dtype} and shape {image.shape}."
            )
        if 0 in image.shape:
            raise ValueError(
                "images must have pixels. Received: "
                f"image {i} of shape {image.shape}."
            )
        if grey:
            arrays[i] = np.repeat(image[..., None], 3, axis=-1)
        arrays[i] = np.ascontiguousarray(arrays[i])
    return arrays


def _checked_labels(labels, num_images):
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.shape != (num_images,) or labels.dtype.kind not in "iu":
        raise ValueError(
            "labels must be one integer per image. Received: type "
            f"{labels.dtype} and shape {labels.shape} for {num_images} images."
        )
    largest = int(labels.max(initial=0))
    if largest > _LARGEST_LABEL:
        raise ValueError(
            f"labels must be at most {_LARGEST_LABEL:,}, to fit into "
            f"int64. Received: {largest:,}. Count the classes from 0."
        )
    return labels.astype(np.int64)
