"""A map of images: those that look alike to the network lie together."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from tfclust.ops.units import unit_rows

MOST_POINTS = 1_500  # a page stays quick, and t-SNE takes some seconds
_DIRECTIONS = 50
_FEW = 5  # fewer images need no map


def atlas(features, seed=0, kind="tsne"):
    """Places `[n, 2]` in [0, 1], or None for fewer images than five.

    PCA, then t-SNE (van der Maaten and Hinton 2008), both of scikit-learn, or
    UMAP (McInnes et al. 2018) of umap-learn.

    Args:
      features: float `[n, F]`, finite; their lengths do not matter.
      seed: int.
      kind: "tsne" or "umap".
    """
    if len(features) < _FEW:
        return None
    rows = directions(features, seed)
    places = _by_umap(rows, seed) if kind == "umap" else _by_tsne(rows, seed)
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - low) / np.maximum(high - low, 1e-9)


def _by_umap(rows, seed):
    from umap import UMAP

    neighbours = min(15, len(rows) - 1)
    # Its start by eigenvectors needs more rows than a few.
    init = "spectral" if len(rows) > 50 else "random"
    return UMAP(
        n_neighbors=neighbours, init=init, random_state=seed, n_jobs=1
    ).fit_transform(rows)


def _by_tsne(rows, seed):
    # Equal images leave PCA nothing to begin with.
    init = "pca" if rows.std(axis=0)[:2].min() > 1e-6 else "random"
    perplexity = min(30.0, (len(rows) - 1) / 3)
    return TSNE(
        perplexity=perplexity, init=init, random_state=seed
    ).fit_transform(rows)


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
