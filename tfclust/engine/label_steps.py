"""What SeLa and SeLa-v2 share: labels with balanced clusters, and their
error."""

import numpy as np

from tfclust.layers.memories import HostMemory
from tfclust.ops import transport


class Balance(HostMemory):
    """log r of every head, `[H, K]`, from which the next label step starts.

    For heads with fewer clusters the rest of the row stays 0.

    Attributes:
      errors: `HostMemory` `[H]`, the error of the worst cluster's soft mass
        after the last label step, as a part of its share; state beside log r.
      passes: `HostMemory` `[H]`, passes of the last label step; also state.
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
        """Pseudo-labels of a head; arguments as for
        `transport.balanced_labels`."""
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
        """The epoch's figures, of the worst head."""
        return {
            "label_mass_error": float(self.errors.array.max()),
            "label_passes": int(self.passes.array.max()),
        }
