"""A map of images: those that look alike to the network lie together."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from tfclust.ops.units import unit_rows

MOST_POINTS = 1_500  # a page stays quick, and t-SNE takes some seconds
_DIRECTIONS = 50
_FEW = 5  # fewer images need no map


def atlas(features, seed=0):
    """Places `[n, 2]` in [0, 1], or None for fewer images than five.

    PCA, then t-SNE (van der Maaten and Hinton 2008), both of scikit-learn.

    Args:
      features: float `[n, F]`, finite; their lengths do not matter.
      seed: int.
    """
    if len(features) < _FEW:
        return None
    rows = directions(features, seed)
    # Equal images leave PCA nothing to begin with.
    init = "pca" if rows.std(axis=0)[:2].min() > 1e-6 else "random"
    perplexity = min(30.0, (len(rows) - 1) / 3)
    places = TSNE(
        perplexity=perplexity, init=init, random_state=seed
    ).fit_transform(rows)
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - low) / np.maximum(high - low, 1e-9)


def directions(features, seed=0):
    """The first principal directions of features at unit length, `[n, <= 50]`.

    Args:
      features: float `[n, F]`, finite.
      seed: int.
    """
    rows = unit_rows(features)
    width = min(_DIRECTIONS, *rows.shape)
    with np.errstate(invalid="ignore"):  # equal images have no variance
        return PCA(width, random_state=seed).fit_transform(rows)
