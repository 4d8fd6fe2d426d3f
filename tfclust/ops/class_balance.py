"""Equal weight for large and small clusters: by the order, or in the loss."""

import numpy as np


def balanced_order(pseudo_labels, *, seed):
    """Image indices of an epoch in which every cluster occurs equally often.

    With C clusters that have images, each gives floor(N / C) + 1 draws from its
    images: without repeats if they suffice, otherwise with. All draws together
    are shuffled and cut to N.

    Args:
      pseudo_labels: `[N]` ints; images below 0 have no label and are not drawn.
      seed: int or tuple of ints >= 0.

    Returns:
      `[N]` int64.

    Raises:
      ValueError: if no image has a label.

    Source:
      facebookresearch/deepcluster, `UnifLabelSampler`.
    """
    pseudo_labels = np.asarray(pseudo_labels)
    by_label = np.argsort(pseudo_labels, kind="stable")
    _, sizes = np.unique(pseudo_labels, return_counts=True)
    groups = np.split(by_label, np.cumsum(sizes)[:-1])
    groups = [group for group in groups if pseudo_labels[group[0]] >= 0]
    if not groups:
        raise ValueError(
            f"none of {len(pseudo_labels)} images has a pseudo-label. "
            "Expected: at least one cluster."
        )
    generator = np.random.Generator(
        np.random.Philox(np.random.SeedSequence(seed))
    )
    draws = len(pseudo_labels) // len(groups) + 1
    drawn = [
        generator.choice(group, draws, replace=len(group) <= draws)
        for group in groups
    ]
    order = generator.permutation(np.concatenate(drawn))
    return order[: len(pseudo_labels)].astype(np.int64)


def inverse_frequencies(counts):
    """Weights that give every cluster the same total, `[K]` float32.

    N / (C * count) for C clusters with images, so that the mean weight of an
    image is 1; 0 for empty clusters.

    Args:
      counts: `[K]` ints, images of each cluster.

    Source:
      Caron et al. 2018, arXiv:1807.05520, section 3.3.
    """
    counts = np.asarray(counts, np.float64)
    filled = counts > 0
    even = counts.sum() / max(1, filled.sum())
    return np.float32(np.where(filled, even / np.maximum(counts, 1), 0.0))
