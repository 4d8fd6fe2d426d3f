"""Features and labels as arrays that belong together."""

import numpy as np


def checked_rows(features, labels, which):
    """Features and labels of one source as arrays that belong together.

    Args:
      features: `[N, F]` float.
      labels: `[N]` int.
      which: "train" or "test", for errors.

    Returns:
      float32 `[N, F]` and int64 `[N]`.

    Raises:
      ValueError: if shapes do not fit, there are no rows, or a feature is not
        finite.
    """
    features, labels = np.asarray(features), np.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            f"{which}_features must be [N, F] and {which}_labels [N]. "
            f"Received: shapes {features.shape} and {labels.shape}."
        )
    if labels.dtype.kind not in "iu" or not len(labels):
        raise ValueError(
            f"{which}_labels must be at least one integer. Received: "
            f"{len(labels)} of type {labels.dtype}."
        )
    features = features.astype(np.float32, copy=False)
    if not np.isfinite(features).all():
        raise ValueError(
            f"{which}_features must be finite. Received: NaN or infinity in "
            f"{num_bad(features)} of {len(features)} rows."
        )
    return features, labels.astype(np.int64)


def num_bad(features):
    """How many rows of `[N, F]` hold NaN or infinity."""
    return int((~np.isfinite(features).all(axis=1)).sum())


def largest_class_share(labels, count=1):
    """The accuracy of always naming the largest classes of labels `[N]`.

    count: int, how many may be named.
    """
    counts = np.sort(np.unique(labels, return_counts=True)[1])
    return float(counts[-count:].sum() / counts.sum())


def chance_of(labels):
    """`chance` and `top5_chance`, of always naming the largest classes."""
    return {
        "chance": largest_class_share(labels),
        "top5_chance": largest_class_share(labels, 5),
    }
