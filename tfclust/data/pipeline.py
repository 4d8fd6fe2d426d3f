"""`tf.data` pipelines: rows of a pass -> plans -> cropped batches.

A pass is cut into elements of `rows_per_batch` consecutive rows of the global
batch. For each element a plan is drawn at once (which images, boxes, mirrored,
photometric numbers); then the crops are cut, either for the whole element from
the decoded store, or image by image in parallel.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust.data import crops, photometric, sampling

# Numbers drawn for a view: its box, mirrored or not, the photometric ones, and
# its turn; a multiple of 4, as `keyed_uniform` wants it.
NUM_UNIFORMS = 36


class Rows(NamedTuple):
    """How one host's part of a global batch is cut into elements."""

    first: int  # row in the global batch
    num: int  # rows of an element
    chunks: int  # elements of a global batch


def rows_of(batch_size, num_shards, shard, rows_per_batch):
    """`Rows` of a shard.

    Raises:
      ValueError: if the rows do not come out even.
    """
    if not 0 <= shard < num_shards:
        raise ValueError(
            f"shard must lie in [0, num_shards). Received: shard={shard}, "
            f"num_shards={num_shards}."
        )
    shard_rows, rest = divmod(batch_size, num_shards)
    num = rows_per_batch or shard_rows
    if rest or num < 1 or shard_rows % num:
        raise ValueError(
            "batch_size must be a multiple of num_shards * rows_per_batch, so "
            f"that each replica has as many rows. Received: batch_size="
            f"{batch_size}, num_shards={num_shards}, rows_per_batch="
            f"{rows_per_batch}."
        )
    return Rows(shard * shard_rows, num, shard_rows // num)


class Group(NamedTuple):
    """Views of one size: [begin, end) among all views."""

    size: int
    begin: int
    end: int


class Cutter:
    """Plans and cuts the views of rows of images.

    Args:
      source: `Source`.
      chain: `config.Chain` of all views.
      groups: tuple of `Group`.
      scales: `[V, 2]`. aspect_ratio: float.
    """

    def __init__(self, source, chain, groups, scales, aspect_ratio):
        self._source = source
        self._chain = chain
        self._groups = groups
        self._scales = scales
        self._aspect_ratio = aspect_ratio
        self._view_sizes = [
            group.size for group in groups for _ in range(*group[1:])
        ]
        with tf.device("CPU:0"):
            self._heights = tf.constant(source.heights)
            self._widths = tf.constant(source.widths)
            self._jpeg = tf.constant(source.jpeg)
        self._store = source.stored() if self._never_antialiased() else None
        self._functions = {}

    def batches(self, rows_dataset, num_rows, key):
        """Cut batches of a dataset of rows.

        Args:
          rows_dataset: elements `{"step", "first_row", "index" [b], ...}`;
            entries beyond these come along.
          num_rows: int b.
          key: int from `sampling.key_of`.

        Returns:
          Dataset of `{"views", "photometric", "index", ...}`.
        """
        at_once, one_by_one = self._traced(num_rows, key)
        batches = rows_dataset.map(
            at_once, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        if one_by_one is None:
            return batches
        images = batches.unbatch().map(
            one_by_one,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return images.batch(num_rows, drop_remainder=True)

    def _traced(self, num_rows, key):
        """The functions over rows and over images, traced once for a run.

        An epoch makes a new dataset, which would trace them anew.
        """
        if (num_rows, key) not in self._functions:
            finish = (
                self._whole_pixels if self._store is None else self._cut_rows
            )

            def at_once(rows):
                return finish(*self._plan(rows, num_rows, key))

            self._functions[num_rows, key] = (
                tf.function(at_once, autograph=False),
                tf.function(self._cut_image, autograph=False)
                if self._store is None
                else None,
            )
        return self._functions[num_rows, key]

    def _never_antialiased(self):
        """Whether even the largest crops shrink too little for it."""
        heights, widths = self._source.heights, self._source.widths
        longest = int(max(heights.max(), widths.max()))
        area = float((heights.astype(float) * widths).max())
        for size, scale in zip(self._view_sizes, self._scales, strict=True):
            side = min(longest, (scale[1] * area * self._aspect_ratio) ** 0.5)
            if side / size >= crops.ANTIALIAS_FROM:
                return False
        return True

    def _plan(self, rows, num_rows, key):
        """What is handed on, boxes `[b, V, 4]` and mirrored `[b, V]`.

        And, where views are turned, angles `[b, V]`.
        """
        rows = dict(rows)
        uniforms = sampling.keyed_uniform(
            key,
            rows.pop("step"),
            rows.pop("first_row"),
            num_rows=num_rows,
            num_views=len(self._view_sizes),
            num_values=NUM_UNIFORMS,
        )
        used = [crops.NUM_UNIFORMS, 1, photometric.NUM_UNIFORMS, 1]
        used.append(NUM_UNIFORMS - sum(used))
        for_box, for_flip, for_color, for_turn, _ = tf.split(
            uniforms, used, axis=-1
        )
        boxes = crops.random_boxes(
            for_box,
            tf.gather(self._heights, rows["index"]),
            tf.gather(self._widths, rows["index"]),
            self._scales,
            self._aspect_ratio,
        )
        numbers = photometric.sample(for_color, self._chain)
        rows["photometric"] = tuple(
            numbers[:, group.begin : group.end] for group in self._groups
        )
        mirrored = for_flip[..., 0] < self._chain.flip_probability
        largest = np.float32(np.deg2rad(self._chain.rotation_degrees))
        if not largest:
            return rows, boxes, mirrored
        return rows, boxes, mirrored, (2 * for_turn[..., 0] - 1) * largest

    def _cut_rows(self, rows, boxes, mirrored, *angles):
        """Crops of all rows from the store, one call a size."""
        views = []
        for size, begin, end in self._groups:
            count = end - begin
            crop = crops.crop_and_resize(
                self._store,
                tf.repeat(tf.cast(rows["index"], tf.int32), count),
                tf.reshape(boxes[:, begin:end], [-1, 4]),
                tf.reshape(mirrored[:, begin:end], [-1]),
                size,
            )
            for angle in angles:
                turn = tf.reshape(angle[:, begin:end], [-1])
                crop = crops.rotate(crop, turn)
            views.append(tf.reshape(crop, [-1, count, size, size, 3]))
        return {**rows, "views": tuple(views)}

    def _whole_pixels(self, rows, boxes, mirrored, *angles):
        """Rows with what `_cut_image` needs, found for all at once."""
        index = rows["index"]
        ratio = crops.dct_ratio(
            boxes, self._view_sizes, tf.gather(self._jpeg, index)
        )
        begins, extents = crops.whole_pixels(
            boxes,
            tf.gather(self._heights, index),
            tf.gather(self._widths, index),
            ratio,
        )
        smooth = crops.needs_antialias(extents, self._view_sizes)
        return rows, (ratio, begins, extents, smooth, mirrored, *angles)

    def _cut_image(self, row, plan):
        """Crops of one image, decoded no larger than they need."""
        ratio, *columns = plan[:5]
        angles = plan[5:]
        image = self._source.image(row["index"], ratio)
        begins, extents, smooth, mirrored = map(tf.unstack, columns)
        crop = [
            crops.cut(
                image, begins[i], extents[i], smooth[i], mirrored[i], size
            )
            for i, size in enumerate(self._view_sizes)
        ]
        views = []
        for _, begin, end in self._groups:
            view = tf.stack(crop[begin:end])
            for angle in angles:
                view = crops.rotate(view, angle[begin:end])
            views.append(view)
        return {**row, "views": tuple(views)}


def pass_rows(rows, num_steps, start_step, batch_size, index_of):
    """Elements of a pass over batches.

    Args:
      rows: `Rows`.
      num_steps: int, global batches of the pass. start_step: int.
      batch_size: int, global.
      index_of: function of positions int64 `[b]` in the pass -> index `[b]`.

    Returns:
      Dataset of `{"step", "first_row", "index"}`; step counts from 0 in the
      pass.
    """

    def element(count):
        step, chunk = count // rows.chunks, count % rows.chunks
        first = rows.first + chunk * rows.num
        positions = step * batch_size + first
        positions += tf.range(rows.num, dtype=tf.int64)
        return {"step": step, "first_row": first, "index": index_of(positions)}

    counts = tf.data.Dataset.range(
        start_step * rows.chunks, num_steps * rows.chunks
    )
    return counts.map(element)


def finished(dataset):
    """`dataset` in fixed order, prefetched, and never split again."""
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)
