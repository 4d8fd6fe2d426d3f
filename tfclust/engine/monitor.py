"""What every run reports about itself, collected on the device step by step.

Cluster counts are of the nearest cluster by raw score of the first global view,
summed over the replicas. Figures are computed on the host at the epoch's end.
"""

import keras
import numpy as np
import tensorflow as tf

from tfclust.layers.memories import RowMemory
from tfclust.ops import partitions


class Monitor(keras.layers.Layer):
    """Accumulators of one epoch, part of the run's state: the loss."""

    def __init__(self, *, name="monitor"):
        super().__init__(name=name, trainable=False)
        self.loss_sum = self._accumulator("loss_sum", (), "float32")
        self.num_steps = self._accumulator("num_steps", (), "int64")
        self.built = True

    def _accumulator(self, name, shape, dtype):
        return self.add_weight(
            shape=shape,
            initializer="zeros",
            dtype=dtype,
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )

    def count_loss(self, loss):
        """Adds a step's global loss."""
        self.loss_sum.assign(self.loss_sum + tf.cast(loss, tf.float32))
        self.num_steps.assign(self.num_steps + 1)

    def mean_loss(self):
        """The loss of the epoch's steps so far."""
        steps = max(1, int(self.num_steps.numpy()))
        return float(self.loss_sum.numpy()) / steps

    def figures(self):
        """The epoch's figures so far, a dict of floats."""
        return {"loss": self.mean_loss()}

    def next_epoch(self):
        """Starts the next epoch's accumulators."""
        self.loss_sum.assign(0.0)
        self.num_steps.assign(0)

    def forget(self):
        """Forgets single images, because indices now mean other images."""


class ClusterMonitor(Monitor):
    """Also counts clusters, and keeps the last two clusters of each image.

    Args:
      num_images: int N.
      num_clusters: K of each head.
      uniform_loss: loss of uniform predictions; None for ln K, the mean over
        heads.

    Attributes:
      sizes: list over heads of int64 `[K]`, images in each cluster as of the
        last `figures`; empty before.
    """

    sizes: list = []

    def __init__(
        self, num_images, num_clusters, *, uniform_loss=None, name="monitor"
    ):
        super().__init__(name=name)
        self.num_clusters = tuple(num_clusters)
        if uniform_loss is None:
            uniform_loss = float(np.mean(np.log(self.num_clusters)))
        self.uniform_loss = uniform_loss
        for head, count in enumerate(num_clusters):
            name = f"counts_{head}"
            setattr(self, name, self._accumulator(name, (count,), "int64"))
        shape = (num_images, len(num_clusters))
        self.before = RowMemory(*shape, name="before")
        self.current = RowMemory(*shape, name="current")

    def count_clusters(self, nearest, index):
        """Adds a step's clusters `[B, H]` of images `index` `[B]`."""
        for head, count in enumerate(self.num_clusters):
            counts = getattr(self, f"counts_{head}")
            ones = tf.ones_like(nearest[:, head], tf.int64)
            new = tf.math.unsorted_segment_sum(ones, nearest[:, head], count)
            counts.assign(counts + new)
        self.current.write(index, nearest)

    def figures(self):
        """The epoch's figures so far; means over heads if there are several.

        Returns:
          dict of floats: loss, loss_over_log_k, effective_clusters,
          empty_clusters, largest_cluster_share (of the worst head),
          changed_share and nmi_previous (None before a second epoch).
        """
        loss = self.mean_loss()
        self.sizes = counts = [
            getattr(self, f"counts_{head}").numpy()
            for head in range(len(self.num_clusters))
        ]
        return {
            "loss": loss,
            "loss_over_log_k": loss / self.uniform_loss,
            "effective_clusters": _mean(partitions.effective_clusters, counts),
            "empty_clusters": _mean(partitions.empty_clusters, counts),
            "largest_cluster_share": max(
                partitions.largest_cluster_share(c) for c in counts
            ),
            **self._changes(),
        }

    def _changes(self):
        before = self.before.rows.numpy()
        current = self.current.rows.numpy()
        both = (before[:, 0] >= 0) & (current[:, 0] >= 0)
        if not both.any():
            return {"changed_share": None, "nmi_previous": None}
        before, current = before[both], current[both]
        nmi = [
            partitions.nmi(before[:, h], current[:, h])
            for h in range(before.shape[1])
        ]
        return {
            "changed_share": float(np.mean(before != current)),
            "nmi_previous": float(np.mean(nmi)),
        }

    def last_assignments(self):
        """Latest nearest cluster by image, int32 `[N, H]`, -1 if never seen."""
        return _latest(self.before.rows.numpy(), self.current.rows.numpy())

    def next_epoch(self):
        super().next_epoch()
        self.before.replace(self.last_assignments())
        self.current.replace(np.full(self.current.rows.shape, -1))
        for head, count in enumerate(self.num_clusters):
            getattr(self, f"counts_{head}").assign(np.zeros(count, np.int64))

    def forget(self):
        nothing = np.full(self.before.rows.shape, -1)
        self.before.replace(nothing)
        self.current.replace(nothing)


def final_labels(arrays):
    """Labels of a run's images, int32 `[N, H]`, -1 where none is known.

    The pseudo-labels if the method keeps them, else the last assignments.

    Args:
      arrays: what `ClusteringMethod.state` returned.
    """
    if "labels/rows" in arrays:
        return arrays["labels/rows"]
    return _latest(
        arrays["monitor/before/rows"], arrays["monitor/current/rows"]
    )


def _latest(before, current):
    return np.where(current >= 0, current, before)


def _mean(figure, counts):
    return float(np.mean([figure(c) for c in counts]))
