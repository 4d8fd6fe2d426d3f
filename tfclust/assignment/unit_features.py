"""Features of unit length, read from the disk in blocks."""

import numpy as np

from tfclust.assignment.config import FIT_ROWS
from tfclust.ops.units import unit_rows

_BLOCK_FLOATS = 1 << 24  # 64 MB


class UnitFeatures:
    """Some rows of features on the disk, scaled to unit length when read.

    Args:
      features: `[N, F]` float array, such as a memory map.
      rows: int `[n]`, ascending: those that count.
    """

    def __init__(self, features, rows):
        self._features, self._rows = features, rows
        self.width = features.shape[1]

    def __len__(self):
        return len(self._rows)

    def take(self, positions):
        """float32 `[m, F]` of positions in [0, n)."""
        rows = np.asarray(self._features[self._rows[positions]], np.float32)
        return unit_rows(rows, otherwise=rows)

    def blocks(self, columns=0):
        """Yields a slice of [0, n) and its rows, in order.

        Args:
          columns: int, of a product with the rows, which bounds them too.
        """
        size = max(1, _BLOCK_FLOATS // max(self.width, columns))
        for begin in range(0, len(self), size):
            some = slice(begin, min(begin + size, len(self)))
            yield some, self.take(some)

    def sample(self, most=FIT_ROWS):
        """Positions of at most so many rows, evenly spaced."""
        count = min(most, len(self))
        return np.arange(count) * len(self) // count
