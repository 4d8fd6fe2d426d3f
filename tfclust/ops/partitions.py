"""Figures of clusterings: how even, and how alike two of them are.

NumPy in, a float out. All comparisons use the sparse contingency table, so that
a million images in thousands of clusters take a fraction of a second.
"""

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.special import gammaln


def effective_clusters(counts):
    """The number of equal clusters with the same entropy: exp(entropy).

    Args:
      counts: `[K]` rows by cluster.

    Returns:
      float in [1, K]; 0 without rows.
    """
    counts = np.asarray(counts, np.float64)
    return float(np.exp(_entropy(counts))) if counts.any() else 0.0


def empty_clusters(counts):
    """Clusters without rows, as a float; counts is `[K]`."""
    return float(np.count_nonzero(np.asarray(counts) == 0))


def largest_cluster_share(counts):
    """Share of rows in the largest cluster; 0 without rows; counts is `[K]`."""
    counts = np.asarray(counts, np.float64)
    return float(counts.max() / counts.sum()) if counts.any() else 0.0


def label_sizes(labels, num_clusters):
    """Sizes of the smallest and the largest cluster of any head.

    Args:
      labels: `[N, H]` int; -1 for no cluster.
      num_clusters: K of each head.

    Returns:
      dict of floats: smallest_label_cluster, largest_label_cluster.
    """
    sizes = [
        np.bincount(column[column >= 0], minlength=count)
        for column, count in zip(
            np.asarray(labels).T, num_clusters, strict=True
        )
    ]
    return {
        "smallest_label_cluster": float(min(s.min() for s in sizes)),
        "largest_label_cluster": float(max(s.max() for s in sizes)),
    }


def contingency(a, b):
    """How many rows are in each cluster of `a` and each of `b`.

    Args:
      a: `[N]` ints, one partition.
      b: `[N]` ints, the other.

    Returns:
      `scipy.sparse.csr_array` int64, a row for each value that occurs in `a`
      and a column for each in `b`, in ascending order.

    Raises:
      ValueError: if the two have different lengths or are not rank 1, or empty.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.ndim != 1 or a.shape != b.shape or not a.size:
        raise ValueError(
            "two partitions of the same rows must be [N] and [N], N >= 1. "
            f"Received: a of shape {a.shape}, b of shape {b.shape}."
        )
    (a, num_a), (b, num_b) = _consecutive(a), _consecutive(b)
    ones = np.ones(len(a), np.int64)
    table = sparse.coo_array((ones, (a, b)), shape=(num_a, num_b)).tocsr()
    table.sum_duplicates()
    return table


def nmi(a, b, average="geometric"):
    """Normalised mutual information, I(a; b) over a mean of H(a) and H(b).

    Args:
      a: `[N]` ints, one partition.
      b: `[N]` ints, the other.
      average: "geometric" (the papers) or "arithmetic" (scikit-learn's
        default).

    Returns:
      float in [0, 1]; 1 if neither partition separates anything, as in
      scikit-learn.

    Raises:
      ValueError: if `average` is another word, or as `contingency`.

    Source:
      DeepCluster, arXiv:1807.05520, sec. 4.1, for the geometric mean.
    """
    table = contingency(a, b)
    of_a, of_b = table.sum(axis=1), table.sum(axis=0)  # [K_a], [K_b]
    mean = _mean_entropy(of_a, of_b, average)
    if max(table.shape) == 1:
        return 1.0
    information = _information(table)
    return min(1.0, information / mean) if information > 0 else 0.0


def chance_nmi(a, b, average="geometric"):
    """The NMI that `b` would have if its groups were dealt to the rows anew.

    Args: those of `nmi`.

    Returns:
      float in [0, 1], the mean over all ways to deal; it grows with the number
      of groups and falls with the number of rows.

    Raises:
      ValueError: as `nmi`.

    Source:
      Vinh et al. 2010, eq. 24, the chance of `ami`.
    """
    table = contingency(a, b)
    of_a, of_b = table.sum(axis=1), table.sum(axis=0)  # [K_a], [K_b]
    mean = _mean_entropy(of_a, of_b, average)
    if max(table.shape) == 1:
        return 1.0
    if not mean:
        return 0.0
    return min(1.0, _expected_information(of_a, of_b) / mean)


def ami(a, b):
    """Mutual information adjusted for chance, arithmetic mean.

    Args:
      a: `[N]` ints, one partition.
      b: `[N]` ints, the other.

    Returns:
      float, 1 if equal, near 0 if unrelated.

    Raises:
      ValueError: as `contingency`.

    Source:
      Vinh, Epps and Bailey 2010, JMLR 11, eq. 24 for the expectation; equals
      scikit-learn's `adjusted_mutual_info_score` to rounding. Clusters of one
      size have the same expectation and are counted together, and counts that
      chance gives once in 1e15 are left out: a million images in 3,000
      clusters and 1,000 classes take a second.
    """
    table = contingency(a, b)
    if max(table.shape) == 1 or min(table.shape) == table.sum():
        return 1.0  # neither separates anything, or both everything
    of_a, of_b = table.sum(axis=1), table.sum(axis=0)  # [K_a], [K_b]
    chance = _expected_information(of_a, of_b)
    most = (_entropy(of_a) + _entropy(of_b)) / 2 - chance
    tiny = np.finfo(np.float64).eps
    # scikit-learn's way with a difference that is all rounding.
    most = min(most, -tiny) if most < 0 else max(most, tiny)
    return float((_information(table) - chance) / most)


def ari(a, b):
    """Adjusted Rand index: pairs kept together, adjusted for chance.

    Args:
      a: `[N]` ints, one partition.
      b: `[N]` ints, the other.

    Returns:
      float at most 1; near 0 if unrelated.

    Raises:
      ValueError: as `contingency`.

    Source:
      Hubert and Arabie 1985.
    """
    table = contingency(a, b)
    both = _pairs(table.data)
    in_a, in_b = _pairs(table.sum(axis=1)), _pairs(table.sum(axis=0))
    chance = in_a * in_b / max(1, _pairs(np.asarray([table.sum()])))
    largest = (in_a + in_b) / 2
    # No other result is possible: all rows together, or all apart, in both.
    return 1.0 if largest == chance else (both - chance) / (largest - chance)


def hungarian_accuracy(labels, clusters):
    """Share of rows that the best match of clusters to classes gets right.

    A class has at most one cluster and a cluster at most one class, so with
    K above the number of classes some clusters count as wrong.

    Args:
      labels: `[N]` ints, the classes.
      clusters: `[N]` ints, of any number of clusters.

    Returns:
      float in (0, 1].

    Raises:
      ValueError: as `contingency`.

    Source:
      SeLa, arXiv:1911.05371, sec. 4, with K equal to the number of classes.
      Matched on the sparse table: 10,000 clusters and as many classes take
      half a second, where a dense table took 80.
    """
    table = contingency(labels, clusters)
    if table.shape[0] > table.shape[1]:
        table = table.T.tocsr()
    few, many = table.shape
    # A class may stay without a cluster; all such together count less than
    # one row, so that the best match is that of the rows.
    alone = sparse.diags_array(np.full(few, 0.5 / few))
    weights = sparse.hstack([table.astype(np.float64), alone]).tocsr()
    rows, columns = min_weight_full_bipartite_matching(weights, maximize=True)
    kept = columns < many
    return float(table[rows[kept], columns[kept]].sum() / table.sum())


def purity(labels, clusters):
    """Share of rows whose class is the commonest in their cluster.

    It only grows as clusters are split, up to 1 for a cluster a row.

    Args:
      labels: `[N]` ints, the classes.
      clusters: `[N]` ints, of any number of clusters.

    Returns:
      float in (0, 1].

    Raises:
      ValueError: as `contingency`.
    """
    table = contingency(labels, clusters)
    return float(table.max(axis=0).sum() / table.sum())


def _mean_entropy(of_a, of_b, average):
    """A mean of the entropies of two partitions, from their sizes."""
    means = {
        "geometric": lambda x, y: (x * y) ** 0.5,
        "arithmetic": lambda x, y: (x + y) / 2,
    }
    if average not in means:
        raise ValueError(
            "average says which mean of the entropies divides. Expected: "
            f"'geometric' or 'arithmetic'. Received: {average!r}."
        )
    return float(means[average](_entropy(of_a), _entropy(of_b)))


def _information(table):
    """Mutual information in nats of a contingency table."""
    of_a, of_b = table.sum(axis=1), table.sum(axis=0)  # [K_a], [K_b]
    cells, total = table.tocoo(), table.sum()
    # log(n_ij * n / (n_i * n_j)), in logarithms as the product may overflow.
    ratio = np.log(cells.data) + np.log(total)
    ratio -= np.log(of_a[cells.row]) + np.log(of_b[cells.col])
    return max(0.0, float(np.sum(cells.data * ratio) / total))


def _expected_information(of_a, of_b):
    """Mutual information of two partitions with these sizes, by chance."""
    total = int(of_a.sum())
    sizes_a, times_a = np.unique(of_a, return_counts=True)
    sizes_b, times_b = np.unique(of_b, return_counts=True)
    expected = 0.0
    for a, times in zip(sizes_a.tolist(), times_a.tolist(), strict=True):
        terms = _expected_of_pairs(a, sizes_b, total)
        expected += times * float(np.sum(times_b * terms))
    return expected


def _expected_of_pairs(a, sizes, total):
    """Chance's information of a cluster of `a` rows and each of `sizes`.

    The sum over n, rows in both, of n / N log(N n / (a b)) times the
    hypergeometric probability of n.
    """
    mean = a * sizes / total
    reach = 8.5 * np.sqrt(mean) + 20  # a normal's tail there is below 1e-16
    low = np.maximum(np.maximum(1, a + sizes - total), np.int64(mean - reach))
    high = np.minimum(np.minimum(a, sizes), np.int64(mean + reach))
    lengths = high - low + 1  # at least 1: low <= min(a, b)
    which = np.repeat(np.arange(len(sizes)), lengths)
    starts = np.cumsum(lengths) - lengths
    n = low[which] + np.arange(len(which)) - starts[which]
    b = sizes[which]
    log_chance = (  # of n rows in both
        _log_choose(a, n)
        + _log_choose(total - a, b - n)
        - _log_choose(total, sizes)[which]
    )
    terms = n / total * (np.log(n) + np.log(total) - np.log(a) - np.log(b))
    return np.add.reduceat(terms * np.exp(log_chance), starts)


def _log_choose(n, k):
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _entropy(counts):
    """Entropy in nats of counts `[K]`."""
    counts = counts[counts > 0]
    shares = counts / counts.sum()
    return float(-np.sum(shares * np.log(shares)))


def _pairs(counts):
    """Pairs within groups, as float: their products overflow int64."""
    counts = np.asarray(counts, np.float64)
    return float(np.sum(counts * (counts - 1) / 2))


def _consecutive(partition):
    """The partition, numbered from 0 over its values, and their number."""
    whole = np.issubdtype(partition.dtype, np.integer)
    if not whole or partition.min() < 0 or partition.max() > 4 * len(partition):
        values, partition = np.unique(partition, return_inverse=True)
        return partition, len(values)
    # Small whole numbers, the usual case, need no sorting.
    occurs = np.bincount(partition) > 0
    return (np.cumsum(occurs) - 1)[partition], int(occurs.sum())
