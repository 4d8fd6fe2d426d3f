"""Views: what a method trains on. Multi-crop batches of a source, by step.

Follows SwAV's multi-crop (Caron et al. 2020, arXiv:2006.09882, section 3.3):
several views of each size from every image, all independent draws. The host
decodes and crops; colour, blur and solarise follow on the device
(`on_device`).
"""

import numpy as np
import tensorflow as tf

from tfclust.data import config as views_config
from tfclust.data.config import ViewsConfig
from tfclust.data.sources.shrunk import ShrunkSource
from tfclust.data.views import passes, photometric, pipeline, sampling
from tfclust.data.views.sizes import check_stored_size, checked_resize
from tfclust.runtime import parallel

_DEFAULT_SIZE = 224
# A crop may enlarge an image this much: CIFAR's 32 px at 224 px is 7 times.
_LARGEST_MAGNIFICATION = 8


class Views:
    """Batches of views of a source.

    Args:
      source: `Source`.
      config: `ViewsConfig`, or None.
      batch_size: int B, images in a global batch.
      seed: int; (seed, step) decides every batch.
      image_size: int, side of images in evaluation; None for the first view
        size.
      resize_size: int, short side before evaluation's centre crop; None for
        `default_resize(image_size)`.
      passes: int, passes over the images in an epoch, each in an order of its
        own. An epoch of one batch would cost more than its step; and a batch
        may begin in one pass and end in the next, so none leaves images out.
      **knobs: fields of `ViewsConfig`, instead of `config`.

    Attributes:
      num_images: int N.
      batch_size: int B.
      num_views: int V, of all sizes together.
      num_global_views: int, views of the first size.
      view_sizes: tuple of int.
      steps_per_epoch: int, whole batches in an epoch's images.
      image_size: int. resize_size: int. seed: int.
      source: the source. config: the config.
      stored: the `ShrunkSource` that crops are cut from with `stored_size`,
        else None.

    Raises:
      ValueError: if the images cannot fill a batch, or the crops make no
        sense for them.
      TypeError: if both `config` and knobs are given, or a knob is unknown.
    """

    def __init__(
        self,
        source,
        config=None,
        *,
        batch_size,
        seed=0,
        image_size=None,
        resize_size=None,
        passes=1,
        **knobs,
    ):
        if config is not None and knobs:
            raise TypeError(
                "give either config or knobs. Received: a config and "
                f"{', '.join(knobs)}."
            )
        config = ViewsConfig(**knobs) if config is None else config
        sizes = config.view_sizes or (image_size or _DEFAULT_SIZE,)
        self.source, self.config, self.seed = source, config, int(seed)
        self.num_images = source.num_images
        self.batch_size = int(batch_size)
        self.view_sizes = tuple(sizes)
        self.num_views = sum(config.num_views)
        self.num_global_views = config.num_views[0]
        self.image_size = image_size or sizes[0]
        self.resize_size = checked_resize(self.image_size, resize_size)
        _check_batch(self.batch_size, self.num_images)
        _check_magnification(sizes, source)
        check_stored_size(config.stored_size, sizes[0])
        self.stored = None
        if config.stored_size is not None:
            self.stored = ShrunkSource(source, config.stored_size)
        self._passes = passes
        self.steps_per_epoch = passes * self.num_images // self.batch_size
        self._chain = views_config.chain(config)
        self._groups = _groups(sizes, config.num_views)
        self._steps = tuple(
            photometric.steps_of(self._chain, group.begin, group.end)
            for group in self._groups
        )
        self._cutters, self._kept_passes = {}, {}

    def __repr__(self):
        return (
            f"<Views of {self.source.uri}: {self.num_images} images, "
            f"{self.config.num_views} views of {self.view_sizes} px, "
            f"batches of {self.batch_size}>"
        )

    def batches(
        self,
        epoch,
        *,
        start_step=0,
        order=None,
        num_shards=1,
        shard=0,
    ):
        """The batches of an epoch, from `start_step` within it.

        Args:
          epoch: int, from 0.
          start_step: int, batches of the epoch to leave out.
          order: int `[>= steps_per_epoch * B]`, image indices; None for a
            permutation keyed by (seed, epoch).
          num_shards: int, replicas that share a global batch, with b = B /
            num_shards rows each.
          shard: int, which of them this is.

        Returns:
          `tf.data.Dataset` of dicts: `views`, a tuple over sizes of uint8
          `[b, n, S, S, 3]`; `photometric`, a tuple of float32 `[b, n, P]`;
          `index`, int64 `[b]`.

        Raises:
          ValueError: if rows cannot be divided evenly, or `order` is too short
            or holds values that are not indices.
        """
        rows = pipeline.rows_of(self.batch_size, num_shards, shard)
        self.source.begin_epoch(epoch)
        elements = pipeline.pass_rows(
            rows,
            self.steps_per_epoch,
            self.batch_size,
            self._index_of(epoch, order),
            start_step=start_step,
            steps_before=epoch * self.steps_per_epoch,
        )
        key = sampling.key_of(self.seed, "views")
        cutter = self._cutter(len(self._groups))
        batches = cutter.batches(elements, rows.num, key)
        return parallel.finished(batches)

    def extraction_batches(
        self,
        kind="train",
        *,
        batch_size=None,
        draw=0,
        shuffle=False,
        num_shards=1,
        shard=0,
    ):
        """A pass over ALL images, in index order or shuffled.

        The last batch is filled with the first images of the pass; `mask` is
        False there.

        Args:
          kind: "train", the global views, drawn from (seed, draw, row of the
            pass) with numbers that training never uses; or "eval", resized
            centre crops.
          batch_size: int, global; None for training's.
          draw: int, such as the step; another draw gives other views.
          shuffle: whether the order is a permutation keyed by (seed, draw), as
            batch norm needs it in train mode: folders are sorted by class, and
            a batch of one class would lose what tells it from the others.
          num_shards, shard: as in `batches`.

        Returns:
          `tf.data.Dataset` of dicts. "train": as `batches`, and `mask` bool
          `[b]`. "eval": `images` uint8 `[b, S, S, 3]`, `index` and `mask`.

        Raises:
          ValueError: if `kind` is neither, or rows cannot be divided evenly.
        """
        if kind not in ("train", "eval"):
            raise ValueError(
                f"kind must be train or eval. Received: kind={kind}."
            )
        batch_size = batch_size or self.batch_size
        rows = pipeline.rows_of(batch_size, num_shards, shard)
        kept = (batch_size, rows)
        if kind == "eval" and not shuffle and kept in self._kept_passes:
            return self._kept_passes[kept]
        elements = passes.pass_over_all(
            self.num_images,
            batch_size,
            rows,
            self._order_of_pass(draw) if shuffle else None,
        )
        if kind == "eval":
            keep = not shuffle and self._keeps_passes()
            batches = passes.batches_of(
                self.source,
                elements,
                rows,
                self.image_size,
                self.resize_size,
                keep=keep,
            )
            if keep:
                self._kept_passes[kept] = batches
            return batches

        def keyed(element):
            return {
                **element,
                "first_row": element["step"] * batch_size
                + element["first_row"],
                "step": tf.constant(draw, tf.int64),
            }

        key = sampling.key_of(self.seed, "extraction")
        # A memory has a row for each image, so the index stays.
        elements = parallel.map_plainly(elements, keyed)
        batches = self._cutter(1).batches(
            elements, rows.num, key, keep_index=True
        )
        return parallel.finished(batches)

    def on_device(self, batch):
        """The images of a batch, with their colours changed; under XLA.

        May be called inside a `tf.function`, inside `strategy.run`, and inside
        a function that XLA compiles as a whole.

        Args:
          batch: an element of `batches` or `extraction_batches`.

        Returns:
          A tuple over sizes of float32 `[n, b, S, S, 3]` in [0, 1]; for "eval"
          one size and n = 1.
        """
        if "images" in batch:
            return (photometric.to_float(batch["images"])[None],)
        return tuple(
            photometric.apply(views, numbers, steps)
            for views, numbers, steps in zip(
                batch["views"], batch["photometric"], self._steps, strict=False
            )
        )

    def _index_of(self, epoch, order):
        if order is None and self._passes == 1:
            return lambda positions: sampling.shuffled(
                positions, self.seed, epoch, self.num_images
            )
        if order is None:
            order = np.concatenate(
                [self._pass_order(epoch, one) for one in range(self._passes)]
            )
        order = np.asarray(order, np.int64)
        needed = self.steps_per_epoch * self.batch_size
        if order.ndim != 1 or len(order) < needed:
            raise ValueError(
                f"order needs an index for each of {needed} rows "
                f"({self.steps_per_epoch} steps of {self.batch_size}). "
                f"Received: shape {order.shape}."
            )
        if order.min() < 0 or order.max() >= self.num_images:
            raise ValueError(
                f"order must hold indices in [0, {self.num_images}). Received: "
                f"{order.min()} to {order.max()}."
            )
        with tf.device("CPU:0"):
            order = tf.constant(order)
        return lambda positions: tf.gather(order, positions)

    def _pass_order(self, epoch, one):
        random = np.random.default_rng([self.seed, epoch, one])
        return random.permutation(self.num_images)

    def _keeps_passes(self):
        """Whether images as evaluation sees them stay in memory as well."""
        num_bytes = passes.num_bytes(self.num_images, self.image_size)
        return self.stored is not None and num_bytes <= passes.KEPT_BYTES

    def _order_of_pass(self, draw):
        return lambda positions: sampling.shuffled(
            positions, self.seed, draw, self.num_images, of="pass"
        )

    def _cutter(self, num_sizes):
        """The cutter for the first `num_sizes` sizes, made once."""
        if num_sizes not in self._cutters:
            groups = self._groups[:num_sizes]
            views = groups[-1].end
            config = self.config
            self._cutters[num_sizes] = pipeline.Cutter(
                self.stored or self.source,
                self._chain._replace(
                    jitter=self._chain.jitter[:views],
                    blur_probability=self._chain.blur_probability[:views],
                    solarise_probability=(
                        self._chain.solarise_probability[:views]
                    ),
                ),
                groups,
                np.repeat(
                    np.float32(config.view_scales), config.num_views, axis=0
                )[:views],
                config.aspect_ratio,
                config.antialias_from,
            )
        return self._cutters[num_sizes]


def _groups(sizes, counts):
    ends = np.cumsum(counts).tolist()
    return tuple(
        pipeline.Group(size, end - count, end)
        for size, count, end in zip(sizes, counts, ends, strict=True)
    )


def _check_batch(batch_size, num_images):
    if batch_size < 1:
        raise ValueError(
            f"batch_size must be at least 1. Received: batch_size={batch_size}."
        )
    if num_images < batch_size:
        raise ValueError(
            f"{num_images} images cannot fill a batch of {batch_size}. Lower "
            f"batch_size to {num_images} or fewer, or give more images."
        )


def _check_magnification(sizes, source):
    sides = np.minimum(source.heights, source.widths)
    largest = int(sides.max())
    for size in sizes:
        if size > _LARGEST_MAGNIFICATION * largest:
            raise ValueError(
                f"views of {size} px are more than {_LARGEST_MAGNIFICATION} "
                f"times larger than every image: the largest short side in "
                f"{source.uri} is {largest} px. Lower view_sizes (image_size) "
                f"to {_LARGEST_MAGNIFICATION * largest} or less."
            )
