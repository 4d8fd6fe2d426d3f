"""State with a row for each training image.

Device memories are non-trainable weights, so checkpoints contain them. They are
written with values that every replica has gathered: all write the same, and the
first replica's write counts.
"""

import numpy as np
import tensorflow as tf
from keras import layers

from tfclust.ops import online_kmeans

_SAME_EVERYWHERE = "only_first_replica"


class RowMemory(layers.Layer):
    """Integers `[N, H]` by image index, -1 if unknown.

    Args:
      num_images: int N.
      num_heads: int H.
      dtype: of the values; floats are 0 if unknown.
    """

    def __init__(self, num_images, num_heads, *, name, dtype="int32"):
        super().__init__(name=name, trainable=False)
        self.rows = self.add_weight(
            shape=(num_images, num_heads),
            initializer=_unknown if dtype.startswith("int") else "zeros",
            dtype=dtype,
            trainable=False,
            aggregation=_SAME_EVERYWHERE,
            name="rows",
        )
        self.built = True

    def read(self, index):
        """`[B, H]` of images `index` `[B]`."""
        return tf.gather(self.rows.value, index)

    def write(self, index, values):
        """Writes `values` `[B, H]` at `index` `[B]`; the last row wins.

        `index` is the global batch, the same on every replica.
        """
        latest = tf.gather(values, last_occurrence(index))
        self.rows.value.scatter_update(
            tf.IndexedSlices(tf.cast(latest, self.rows.dtype), index)
        )

    def write_from_host(self, index, values):
        """Writes `values` `[b, H]` at `index` `[b]` between two steps.

        Both are host arrays, the same on every host, and no index occurs twice:
        for ODC's labels, of which a step changes a few.
        """
        rows = self.rows.value
        strategy = getattr(rows, "distribute_strategy", None)
        copies = [rows]  # one on each of this host's devices
        if strategy is not None:
            copies = strategy.experimental_local_results(rows)
        slices = tf.IndexedSlices(
            tf.constant(np.asarray(values, self.rows.dtype)),
            tf.constant(np.asarray(index, np.int64)),
        )
        for copy in copies:
            copy.scatter_update(slices)

    def replace(self, values):
        """Sets all rows from a host array `[N, H]`."""
        self.rows.assign(np.asarray(values, self.rows.dtype))


class VoteMemory(layers.Layer):
    """The few clusters that each image had over the epochs, with weights.

    Args:
      num_images: int N.
      num_heads: int H.
      num_votes: int J, clusters kept for an image and a head.

    Source: CoKe, the second stage; see `ops.online_kmeans.add_vote`.
    """

    def __init__(self, num_images, num_heads, num_votes, *, name):
        super().__init__(name=name, trainable=False)
        self.shape = (num_heads, num_votes)
        size = (num_images, num_heads * num_votes)
        self.clusters = RowMemory(*size, name="clusters")
        self.vote_weights = RowMemory(*size, name="weights", dtype="float32")
        self.built = True

    def read(self, index):
        """`Votes` `[B, H, J]` of images `index` `[B]`."""
        return online_kmeans.Votes(
            tf.reshape(self.clusters.read(index), [-1, *self.shape]),
            tf.reshape(self.vote_weights.read(index), [-1, *self.shape]),
        )

    def read_or(self, labels, index):
        """Clusters and their shares `[B, H, J]` in the label of each image.

        An image without votes gets `labels` `[B, H, 1]` with a share of 1.
        """
        votes = self.read(index)
        shares = online_kmeans.vote_shares(votes)
        none = tf.reduce_sum(shares, axis=-1, keepdims=True) == 0
        first = tf.one_hot(0, self.shape[1])
        return (
            tf.where(none, labels, votes.clusters),
            tf.where(none, first, shares),
        )

    def add(self, index, labels, past_epochs, when):
        """Adds one epoch's labels `[B, H]` if scalar bool `when` is True.

        Args:
          index: `[B]`, the global batch, the same on every replica.
          labels: `[B, H]` int32.
          past_epochs: scalar int, epochs in the mean before this one.
          when: scalar bool.
        """
        share = 1.0 / tf.cast(tf.maximum(past_epochs, 0) + 1, tf.float32)
        before = self.read(index)
        votes = online_kmeans.add_vote(before, labels, share)
        for memory, new, old in zip(
            (self.clusters, self.vote_weights), votes, before, strict=True
        ):
            values = tf.where(when, new, old)
            flat = [labels.shape[0], self.shape[0] * self.shape[1]]
            memory.write(index, tf.reshape(values, flat))


class HostMemory:
    """An array `[N, ...]` by image in host memory, part of a run's state.

    Features of a million images would not fit mirrored on every device.
    """

    def __init__(self, shape, dtype, fill=0):
        self.array = np.full(shape, fill, dtype)

    def write(self, index, values):
        """Writes `values` at `index`; if an index repeats, the last row
        wins."""
        # NumPy does not define the order for repeated indices: keep the last.
        flipped, first = np.unique(index[::-1], return_index=True)
        self.array[flipped] = values[::-1][first]


class ProjectionBank(HostMemory):
    """Unit projections of an epoch's global views, `[N, G, D]` by image.

    The last incomplete batch of an epoch is left out: `visited` tells which
    rows belong to the epoch, and is state like the rows.

    Args:
      num_images: int N.
      num_views: int G, global views.
      width: int D.

    Source: DeepCluster-v2, `main_deepclusterv2.py`, where a bank is addressed
    by the sampler's position.
    """

    def __init__(self, num_images, num_views, width):
        super().__init__((num_images, num_views, width), np.float32)
        self.visited = HostMemory((num_images,), np.bool_)

    def fill(self, rows):
        """Stores `[N, G, D]` from a pass over all images."""
        self.array[...] = rows
        self.visited.array[:] = True

    def write(self, index, values):
        """Writes a step's `values` `[B, G, D]` at `index` `[B]`."""
        super().write(index, values)
        self.visited.array[index] = True

    def take_visited(self):
        """Images written since the last call, sorted."""
        rows = np.flatnonzero(self.visited.array)
        self.visited.array[:] = False
        return rows

    def of_view(self, rows, head):
        """`[n, D]` for images `rows`, from the view that belongs to a head.

        Head h uses view h mod G.
        """
        return self.array[rows, head % self.array.shape[1]]


def last_occurrence(index):
    """For each entry, the last position of its value, `[B]` int32.

    Writing rows gathered at these positions gives the same result in any order.
    """
    order = tf.argsort(index, stable=True)  # equal ones keep batch order
    ordered = tf.gather(index, order)
    ends = tf.searchsorted(ordered, index, side="right") - 1
    return tf.gather(order, ends)


def _unknown(shape, dtype=None):
    return tf.fill(shape, tf.constant(-1, dtype or tf.int32))
