"""`tf.data` pipelines: rows of a pass -> plans -> cropped batches.

A pass is a sequence of elements, each a shard's consecutive rows of a global
batch. For each element a plan is drawn at once (images, boxes, mirroring,
photometric numbers); then the crops are cut, either for the whole element from
the decoded store, or image by image in parallel.

An image that can no longer be read is replaced by another, drawn from (seed,
step, row) and cropped with the row's own numbers, so a run stays repeatable.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust.data.views import crops, photometric, sampling
from tfclust.runtime import parallel

# Numbers drawn for a view: its box, mirrored or not, the photometric ones, and
# its rotation; a multiple of 4, as `keyed_uniform` requires.
NUM_UNIFORMS = 36
_PLACE = ("step", "first_row")  # a row's numbers are drawn from these


class Rows(NamedTuple):
    """A shard's part of each global batch."""

    first: int  # row in the global batch
    num: int


def rows_of(batch_size, num_shards, shard):
    """`Rows` of a shard.

    Raises:
      ValueError: if the rows cannot be divided evenly.
    """
    if not 0 <= shard < num_shards:
        raise ValueError(
            f"shard must lie in [0, num_shards). Received: shard={shard}, "
            f"num_shards={num_shards}."
        )
    num, rest = divmod(batch_size, num_shards)
    if rest or num < 1:
        raise ValueError(
            "batch_size must be a multiple of num_shards, so that all have as "
            f"many rows. Received: batch_size={batch_size}, "
            f"num_shards={num_shards}."
        )
    return Rows(shard * num, num)


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
      scales: `[V, 2]`. aspect_ratio: float. antialias_from: float.
    """

    def __init__(
        self, source, chain, groups, scales, aspect_ratio, antialias_from
    ):
        self._source = source
        self._chain = chain
        self._groups = groups
        self._scales = scales
        self._aspect_ratio = aspect_ratio
        self._antialias_from = antialias_from
        self._view_sizes = [
            group.size for group in groups for _ in range(*group[1:])
        ]
        self._heights = source.column("heights")
        self._widths = source.column("widths")
        self._jpeg = source.column("jpeg")
        self._store = source.stored() if self._never_antialiased() else None
        self._functions = {}

    def batches(self, rows_dataset, num_rows, key, keep_index=False):
        """Cut batches of a dataset of rows.

        Args:
          rows_dataset: elements `{"step", "first_row", "index" [b], ...}`;
            further entries are passed on.
          num_rows: int b.
          key: int from `sampling.key_of`.
          keep_index: whether `index` stays the row's own if another image is
            read instead.

        Returns:
          Dataset of `{"views", "photometric", "index", ...}`.
        """
        at_once, one_by_one = self._traced(num_rows, key, keep_index)
        batches = parallel.map_batches(rows_dataset, at_once)
        if one_by_one is None:
            return batches
        images = parallel.map_images(batches.unbatch(), one_by_one)
        return images.batch(num_rows, drop_remainder=True)

    def _traced(self, num_rows, key, keep_index):
        """The functions over rows and over images, traced once for a run.

        Each epoch makes a new dataset, which would trace them again.
        """
        kind = (num_rows, key, keep_index)
        if kind not in self._functions:
            how = key, keep_index
            at_once = (
                self._from_store if self._store is not None else self._plan
            )

            def rows_at_once(rows):
                return at_once(rows, num_rows, *how)

            def image_by_image(row, others, plan):
                return self._cut_image(row, others, plan, *how)

            self._functions[kind] = (
                tf.function(rows_at_once, autograph=False),
                tf.function(image_by_image, autograph=False)
                if self._store is None
                else None,
            )
        return self._functions[kind]

    def _never_antialiased(self):
        """Whether even the largest crops shrink too little for antialiasing.

        Crops from the store are plain; any others are cut image by image.
        """
        heights, widths = self._source.heights, self._source.widths
        longest = int(max(heights.max(), widths.max()))
        area = float((heights.astype(float) * widths).max())
        for size, scale in zip(self._view_sizes, self._scales, strict=True):
            side = min(longest, (scale[1] * area * self._aspect_ratio) ** 0.5)
            if side > size and side / size >= self._antialias_from:
                return False
        return True

    def _boxes(self, rows, num_rows, key):
        """Boxes `[b, V, 4]`, mirrored `[b, V]`, photometric numbers, angles.

        Angles are a list of one `[b, V]`, or empty if no view is rotated.
        """
        uniforms = sampling.keyed_uniform(
            key,
            rows["step"],
            rows["first_row"],
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
        mirrored = for_flip[..., 0] < self._chain.flip_probability
        largest = np.float32(np.deg2rad(self._chain.rotation_degrees))
        angles = [(2 * for_turn[..., 0] - 1) * largest] if largest else []
        return boxes, mirrored, numbers, angles

    def _finish(self, rows, numbers):
        """The entries of rows that are passed on, with photometric numbers."""
        rows = {k: v for k, v in rows.items() if k not in _PLACE}
        rows["photometric"] = tuple(
            numbers[:, group.begin : group.end] for group in self._groups
        )
        return rows

    def _wanted(self, rows, num_rows, key):
        """Indices `[b, 1 + n]`: the row's own image and its replacements."""
        others = sampling.replacements(
            key,
            rows["step"],
            rows["first_row"],
            num_rows=num_rows,
            num_images=self._source.num_images,
        )
        return tf.concat([rows["index"][:, None], others], axis=1)

    def _from_store(self, rows, num_rows, key, keep_index):
        """Crops of all rows from the store, one call per size."""
        index = rows["index"]
        if self._source.missing.any():
            wanted = self._wanted(rows, num_rows, key)
            index = first_present(wanted, self._source.missing)
        if not keep_index:
            rows = {**rows, "index": index}
        boxes, mirrored, numbers, angles = self._boxes(rows, num_rows, key)
        views = []
        for size, begin, end in self._groups:
            count = end - begin
            crop = crops.crop_and_resize(
                self._store,
                tf.repeat(tf.cast(index, tf.int32), count),
                tf.reshape(boxes[:, begin:end], [-1, 4]),
                tf.reshape(mirrored[:, begin:end], [-1]),
                size,
            )
            for angle in angles:
                turn = tf.reshape(angle[:, begin:end], [-1])
                crop = crops.rotate(crop, turn)
            views.append(tf.reshape(crop, [-1, count, size, size, 3]))
        return {**self._finish(rows, numbers), "views": tuple(views)}

    def _plan(self, rows, num_rows, key, keep_index):
        """Rows, their possible replacements, and what `_cut_image` needs."""
        del keep_index  # nothing is read yet
        boxes, mirrored, numbers, angles = self._boxes(rows, num_rows, key)
        plan = (*self._whole_pixels(rows["index"], boxes), mirrored, *angles)
        row = rows["first_row"] + tf.range(num_rows, dtype=tf.int64)
        instead = {
            "step": tf.repeat(rows["step"], num_rows),
            "first_row": row,
            "wanted": self._wanted(rows, num_rows, key),
        }
        return self._finish(rows, numbers), instead, plan

    def _whole_pixels(self, index, boxes):
        """Ratio, begins, extents and smooth of crops of images, for `_cut`."""
        ratio = crops.dct_ratio(
            boxes, self._view_sizes, tf.gather(self._jpeg, index)
        )
        begins, extents = crops.whole_pixels(
            boxes,
            tf.gather(self._heights, index),
            tf.gather(self._widths, index),
            ratio,
        )
        smooth = crops.needs_antialias(
            extents, self._view_sizes, self._antialias_from
        )
        return ratio, begins, extents, smooth

    def _cut_image(self, row, instead, plan, key, keep_index):
        """Crops of one image, decoded no larger than they need."""
        data, choice = self._source.fetch(instead["wanted"])
        index = instead["wanted"][choice]

        def planned_anew():
            # The row's numbers again, at the size of the other image.
            place = {k: instead[k] for k in _PLACE}
            boxes, *_ = self._boxes({**place, "index": index[None]}, 1, key)
            return [part[0] for part in self._whole_pixels(index[None], boxes)]

        boxes, rest = plan[:4], plan[4:]
        boxes = tf.cond(choice > 0, planned_anew, lambda: list(boxes))
        image = self._source.fetched(data, index, boxes[0])
        if not keep_index:
            row = {**row, "index": index}
        return {**row, "views": self._cut(image, *boxes[1:], *rest)}

    def _cut(self, image, begins, extents, smooth, mirrored, *angles):
        """A tuple over sizes of the views of one image."""
        columns = map(tf.unstack, (begins, extents, smooth, mirrored))
        crop = [
            crops.cut(image, begin, extent, blurred, mirror, size)
            for begin, extent, blurred, mirror, size in zip(
                *columns, self._view_sizes, strict=True
            )
        ]
        views = []
        for _, begin, end in self._groups:
            view = tf.stack(crop[begin:end])
            for angle in angles:
                view = crops.rotate(view, angle[begin:end])
            views.append(view)
        return tuple(views)


def first_present(wanted, missing):
    """For each row of indices `[b, n]` the first not in `missing` `[N]`."""
    present = tf.gather(tf.constant(~missing), wanted)
    first = tf.argmax(tf.cast(present, tf.int32), axis=1)
    return tf.gather(wanted, first, batch_dims=1)


def pass_rows(
    rows, num_steps, batch_size, index_of, *, start_step=0, steps_before=0
):
    """Elements of a pass over batches.

    Args:
      rows: `Rows`.
      num_steps: int, global batches of the pass.
      batch_size: int, global.
      index_of: function of positions int64 `[b]` in the pass -> index `[b]`.
      start_step: int, batches of the pass to leave out.
      steps_before: int, the value of `step` at the start of the pass.

    Returns:
      Dataset of `{"step", "first_row", "index"}`.
    """

    def element(step):
        first = tf.constant(rows.first, tf.int64)
        positions = step * batch_size + first
        positions += tf.range(rows.num, dtype=tf.int64)
        return {
            "step": steps_before + step,
            "first_row": first,
            "index": index_of(positions),
        }

    steps = tf.data.Dataset.range(start_step, num_steps)
    return parallel.map_plainly(steps, element)
