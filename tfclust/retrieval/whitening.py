"""PCA with whitening, learnt from rows that come in blocks.

As DeepCluster's evaluation: centred, the eigenvectors of the largest
eigenvalues, each divided by the root of its eigenvalue, which counts as at
least 1e-5 of the largest one.
"""

import numpy as np

_FLOOR = 1e-5


class Whitening:
    """An affine map `[n, C]` to `[n, D]`."""

    def __init__(self, mean, components):
        self.mean, self.components = mean, components  # [C], [C, D]

    def apply(self, rows):
        """`rows` `[n, C]` whitened, `[n, D]`."""
        return (rows - self.mean) @ self.components


def check_others(argument, source, searched):
    """Refuses to learn whitening from images that are searched.

    Args:
      argument: str, which gave `source`.
      source: `data.Source` to learn from.
      searched: `data.Source` of photos or of queries.

    Raises:
      ValueError: if they share an image.
    """
    shared = searched.num_shared(source)
    if shared:
        raise ValueError(
            f"{argument} must hold other images than those that are searched, "
            f"by the papers' rule. Received: {argument}={source.uri}, with "
            f"{shared} of the {searched.num_images} images of {searched.uri}. "
            "Give the photos of another set."
        )


class Learner:
    """Collects sums; memory does not grow with the number of rows."""

    def __init__(self):
        self._count = 0
        self._sum = self._products = np.zeros(1)

    def add(self, rows):
        """Learns from float64 `[n, C]`."""
        self._count += len(rows)
        self._sum = self._sum + rows.sum(axis=0)
        self._products = self._products + rows.T @ rows

    def finish(self, width):
        """The `Whitening` to the `width` largest directions, or all C.

        Raises:
          ValueError: if there were fewer than two rows.
        """
        if self._count < 2:
            raise ValueError(
                "whitening needs two vectors or more to learn from. Received: "
                f"{self._count}. Give more images in whiten_images."
            )
        mean = self._sum / self._count
        centred = self._products / self._count - np.outer(mean, mean)
        values, vectors = np.linalg.eigh(centred)
        values, vectors = values[::-1], vectors[:, ::-1]  # largest first
        width = min(width, len(mean))
        if values[0] <= 0:
            raise ValueError(
                "whitening needs vectors that differ. Received: "
                f"{self._count} equal ones. Give other whiten_images."
            )
        values = np.maximum(values, _FLOOR * values[0])[:width]
        return Whitening(mean, vectors[:, :width] / np.sqrt(values))
