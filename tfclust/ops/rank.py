"""In how many directions rows differ."""

import numpy as np

from tfclust.ops.units import unit_rows


def effective_rank(rows):
    """Directions of equal variance that would be as varied as those of `rows`.

    The exponential of the entropy of the shares of variance, with the rows at
    unit length: 1 along a line, F if all directions count alike; 0 for equal
    rows.

    Args:
      rows: float `[n, F]`, finite.

    Source:
      Roy and Vetterli 2007, of variances where they have singular values.
    """
    units = unit_rows(np.asarray(rows, np.float64))
    centred = units - units.mean(axis=0)
    if np.abs(centred).max(initial=0.0) < 1e-6:  # float32 has no more digits
        return 0.0
    variances = np.linalg.eigvalsh(centred.T @ centred)
    shares = variances[variances > 0] / variances[variances > 0].sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
