"""What SeLa and SeLa-v2 share: labels of balanced clusters, and how exact."""

import numpy as np

from tfclust.layers.memories import HostMemory
from tfclust.ops import transport


class Balance(HostMemory):
    """log r of every head, `[H, K]`, where each label step begins anew.

    Heads of fewer clusters leave the end at 0.

    Attributes:
      errors: `HostMemory` `[H]`, how far the soft mass of a cluster is off its
        share after the last label step, of the worst; state beside log r.
      passes: `HostMemory` `[H]`, those of the last label step; state as well.
    """

    def __init__(self, config):
        self.config = config
        counts = config.num_clusters
        super().__init__((len(counts), max(counts)), np.float64)
        self.errors = HostMemory((len(counts),), np.float64)
        self.passes = HostMemory((len(counts),), np.int64)

    def log_r(self, head):
        """`[K]`, a view of the head's row."""
        return self.array[head, : self.config.num_clusters[head]]

    def label(self, head, *args, **knobs):
        """Pseudo-labels of a head; takes what `transport.balanced_labels`
        does."""
        result = transport.balanced_labels(
            *args,
            tolerance=self.config.label_tolerance,
            max_iters=self.config.label_iters,
            initial_log_r=self.log_r(head),
            **knobs,
        )
        self.log_r(head)[:] = result.log_r
        self.errors.array[head] = result.marginal_error
        self.passes.array[head] = result.num_iters
        return result.pseudo_labels

    def figures(self):
        """Of the worst head, for the epoch's figures."""
        return {
            "label_mass_error": float(self.errors.array.max()),
            "label_passes": int(self.passes.array.max()),
        }
