"""95 % intervals of figures: how much other test images would change them.

The percentile bootstrap (Efron 1979): test images are drawn again with
replacement, as many as there are, and the figure is taken of each draw. A draw
holds copies of images, which AMI, ARI and NMI take for agreement, and which
raise average precision; their draws are moved so that their mean is the figure
itself. On 300 images of known partitions, 95 % intervals of AMI then hold the
truth in 93 % of 60 sets, and without it in 27 %.
"""

import numpy as np

RESAMPLES = 200  # where the draws take little time
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


def of_shares(figures, names, num_images):
    """`{figure}_interval` of those of `names` that are among the figures."""
    return {
        f"{name}_interval": of_share(figures[name], num_images)
        for name in names
        if name in figures
    }


def of_figures(figures, num_images, *, resamples, seed, moved=False):
    """`{figure}_interval`, [low, high], of figures of the test images.

    Args:
      figures: function of int `[N]`, images with repetition, to a dict of
        floats with always the same names, NaN for what a draw has not.
      num_images: int N.
      resamples: int, draws, the same for all figures; 0 for no intervals.
      seed: int.
      moved: whether draws are moved so that their mean is the figure itself.

    Returns:
      dict; without figures that are NaN in a draw, and empty for one image.
    """
    if not resamples or num_images < 2:
        return {}
    from scipy import stats

    names = list(figures(np.arange(num_images)))
    missing = np.zeros([len(names), 1], bool)

    def of_draw(rows, axis):
        del axis  # the last: one draw, `[1, N]`
        drawn = figures(rows[0].astype(np.int64))  # SciPy makes floats of them
        values = np.array([[drawn[name]] for name in names])  # [F, 1]
        missing[...] |= ~np.isfinite(values)
        return np.nan_to_num(values)

    found = stats.bootstrap(
        (np.arange(num_images),),
        of_draw,
        n_resamples=resamples,
        batch=1,
        vectorized=True,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    limits = np.stack(found.confidence_interval, axis=-1)  # [F, 2]
    if moved:
        whole = of_draw(np.arange(num_images)[None], axis=-1)  # [F, 1]
        means = found.bootstrap_distribution.mean(axis=-1, keepdims=True)
        limits = limits + whole - means
    return {
        f"{name}_interval": of.tolist()
        for name, of, lacks in zip(names, limits, missing[:, 0], strict=True)
        if not lacks
    }


def of_means(values, *, resamples, seed):
    """`of_figures` that are means over queries, drawn again likewise.

    Args:
      values: `{figure: float [Q]}`.
    """
    found: dict = {}
    for name, column in values.items():
        found |= of_figures(
            lambda rows, name=name, column=column: {name: column[rows].mean()},
            len(column),
            resamples=resamples,
            seed=seed,
        )
    return found
