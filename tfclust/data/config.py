"""What the views of a run are: sizes, scales and augmentation presets.

The presets are the chains of the papers, after the random resized crop: SwAV's,
which is SimCLR's (Caron et al. 2020, arXiv:2006.09882; Chen et al. 2020,
arXiv:2002.05709, appendix A), and BYOL's, which differ between the two views
(Grill et al. 2020, arXiv:2006.07733, appendix B).
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from tfclust.options import check, option

MAX_BAD_SHARE = 0.01  # the default of every source
IMBALANCES = ("none", "light", "heavy")  # `parts.imbalance_shares`


class Preset(NamedTuple):
    """An augmentation chain; tuples have a value per view, the last repeats."""

    jitter: tuple  # largest change of brightness, contrast, saturation, hue
    jitter_probability: float
    grey_probability: float
    blur_probability: tuple
    solarise_probability: tuple
    flip_probability: float


PRESETS = {
    "swav": Preset((0.8, 0.8, 0.8, 0.2), 0.8, 0.2, (0.5,), (0.0,), 0.5),
    # Views beyond the pair blur as DINO's local crops do (arXiv:2104.14294).
    "byol": Preset(
        (0.4, 0.4, 0.2, 0.1), 0.8, 0.2, (1.0, 0.1, 0.5), (0.0, 0.2, 0.0), 0.5
    ),
    "none": Preset((0.0, 0.0, 0.0, 0.0), 0.0, 0.0, (0.0,), (0.0,), 0.0),
}


@dataclasses.dataclass(frozen=True)
class ViewsConfig:
    """Crops and colours of a run.

    See `Views` for their use.
    """

    view_sizes: tuple[int, ...] = option(
        (),
        "Side of the square views, one value per size, largest first; empty "
        "takes image_size.",
        unit="pixels",
        lower=4,
        upper=2048,
    )
    num_views: tuple[int, ...] = option(
        (2,), "Views of each size.", source="SwAV, 3.3", lower=1
    )
    view_scales: tuple[tuple[float, float], ...] = option(
        ((0.14, 1.0),),
        "Smallest and largest share of the image's area in a crop, a pair per "
        "size.",
        source="SwAV, 3.3",
    )
    aspect_ratio: float = option(
        4 / 3,
        "A crop's width is between 1/a and a times its height.",
        source="SwAV's random resized crop",
        lower=1.0,
        upper=10.0,
    )
    antialias_from: float = option(
        1.0,
        "Crops that shrink by this factor or more are antialiased; 1 is what "
        "Pillow does. 2 crops photos nearly twice as fast, by plain bilinear "
        "interpolation, with more fine detail than images of evaluation "
        "have.",
        source="Pillow's bilinear resize",
        lower=1.0,
        upper=2048.0,
    )
    stored_size: int | None = option(
        None,
        "Short side to which images are shrunk, once, before crops are cut; "
        "they are then kept in memory if they fit. Empty cuts crops from the "
        "images at full size, read anew for each step.",
        unit="pixels",
        lower=4,
        upper=8192,
    )
    augmentation: str = option(
        "swav",
        "Chain of changes after the crop; the knobs below override its parts.",
        choices=tuple(PRESETS),
    )
    jitter_strength: float = option(
        1.0,
        "Factor on the preset's changes of brightness, contrast, saturation "
        "and hue; 0.5 is usual for CIFAR.",
        source="SimCLR, appendix A",
        lower=0.0,
        upper=2.0,
    )
    color_jitter: tuple[float, ...] = option(
        (),
        "Largest change of brightness, contrast, saturation (shares) and hue "
        "(turns), before jitter_strength; four values for all views, or four "
        "for each view size; empty for the preset's.",
        lower=0.0,
    )
    jitter_probability: float | None = option(
        None, "Share of views with colour jitter.", lower=0.0, upper=1.0
    )
    grey_probability: float | None = option(
        None, "Share of views turned grey.", lower=0.0, upper=1.0
    )
    blur_probability: tuple[float, ...] = option(
        (),
        "Share blurred, one value per view (the last repeats); empty for the "
        "preset's.",
        lower=0.0,
        upper=1.0,
    )
    blur_sigma: tuple[float, float] = option(
        (0.1, 2.0),
        "Smallest and largest standard deviation of the blur.",
        unit="pixels of the view",
        source="SwAV's Gaussian blur",
        lower=0.01,
        upper=16.0,
    )
    solarise_probability: tuple[float, ...] = option(
        (),
        "Share with inverted bright pixels, one value per view (the last "
        "repeats); empty for the preset's.",
        lower=0.0,
        upper=1.0,
    )
    flip_probability: float | None = option(
        None, "Share of views mirrored left to right.", lower=0.0, upper=1.0
    )
    rotation_degrees: float = option(
        0.0,
        "Largest rotation of a view, in either direction, after the flip; "
        "corners become black. 2 in ODC.",
        unit="degrees",
        source="ODC",
        lower=0.0,
        upper=180.0,
    )
    photometric: str = option(
        "fused",
        "Colour steps as one affine map per image, or one by one as in the "
        "papers.",
        choices=("fused", "sequential"),
    )

    def __post_init__(self):
        check(self)
        _check_lengths(self)
        _check_sizes(self)
        _check_scales(self)
        _check_colors(self)


class Chain(NamedTuple):
    """The augmentation as it is applied: a preset with its overrides.

    Arrays have a row per view.
    """

    jitter: np.ndarray  # [V, 4], strength included
    jitter_probability: float
    grey_probability: float
    blur_probability: np.ndarray  # [V]
    blur_sigma: tuple
    solarise_probability: np.ndarray  # [V]
    flip_probability: float
    sequential: bool
    rotation_degrees: float = 0.0


def chain(config):
    """The `Chain` of a `ViewsConfig`.

    Raises:
      ValueError: if more probabilities than views are given, or the strength
        makes a factor negative or turns the hue by more than half a turn.
    """
    preset = PRESETS[config.augmentation]
    count = sum(config.num_views)
    jitter = np.asarray(config.color_jitter or preset.jitter, np.float32)

    def or_preset(name):
        value = getattr(config, name)
        return getattr(preset, name) if value is None else value

    def per_view(name):
        values = getattr(config, name)
        if len(values) > count:
            raise ValueError(
                f"{name} takes at most one value per view. Received: "
                f"{len(values)} values for {count} views."
            )
        values = tuple(values or getattr(preset, name))[:count]
        values += values[-1:] * (count - len(values))
        return np.asarray(values, np.float32)

    return Chain(
        jitter=_by_view(jitter, config.num_views) * config.jitter_strength,
        jitter_probability=or_preset("jitter_probability"),
        grey_probability=or_preset("grey_probability"),
        blur_probability=per_view("blur_probability"),
        blur_sigma=config.blur_sigma,
        solarise_probability=per_view("solarise_probability"),
        flip_probability=or_preset("flip_probability"),
        sequential=config.photometric == "sequential",
        rotation_degrees=config.rotation_degrees,
    )


def _by_view(jitter, num_views):
    """`[V, 4]` from four values for all views, or four for each size."""
    by_size = np.broadcast_to(jitter.reshape(-1, 4), [len(num_views), 4])
    return np.repeat(by_size, num_views, axis=0)


def _check_lengths(config):
    sizes = len(config.view_sizes) or 1
    lengths = {"num_views": config.num_views, "view_scales": config.view_scales}
    for name, values in lengths.items():
        if len(values) != sizes:
            raise ValueError(
                f"{name} needs one entry for each view size. Received: "
                f"{len(values)} entries for {sizes} sizes "
                f"(view_sizes={config.view_sizes or 'image_size'})."
            )


def _check_sizes(config):
    sizes = config.view_sizes
    for size in sizes[1:]:
        if size >= sizes[0]:
            raise ValueError(
                "view_sizes starts with the global size, and local crops are "
                f"smaller. Received: a local size of {size} px beside a global "
                f"size of {sizes[0]} px. Put the largest first."
            )
    if len(set(sizes)) < len(sizes):
        raise ValueError(
            "view_sizes names each size once. Received: "
            f"view_sizes={sizes}. Add up their num_views instead."
        )


def _check_scales(config):
    for low, high in config.view_scales:
        if not 0 < low <= high <= 1:
            raise ValueError(
                "view_scales are shares of the image's area with "
                f"0 < smallest <= largest <= 1. Received: {low}:{high}."
            )


def _check_colors(config):
    jitter, sizes = config.color_jitter, len(config.num_views)
    if jitter and len(jitter) not in (4, 4 * sizes):
        raise ValueError(
            "color_jitter has four values (brightness, contrast, saturation, "
            f"hue), or four for each view size. Received: {len(jitter)} values "
            f"for {sizes} sizes."
        )
    low, high = config.blur_sigma
    if low > high:
        raise ValueError(
            f"blur_sigma needs smallest <= largest. Received: {low}:{high}."
        )
    hue = chain(config).jitter[:, 3].max()
    if hue > 0.5:
        raise ValueError(
            "hue changes by at most half a turn. Received: "
            f"{hue:.3g} turns, jitter_strength included. Lower "
            "jitter_strength."
        )
