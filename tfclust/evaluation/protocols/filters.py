"""What a network's filters see, to be looked at rather than compared.

For some channels of each layer the images that excite them most, as
DeepCluster's figures 4 and 5 (Caron et al. 2018, arXiv:1807.05520). The command
shows them on a page, with the filters of the first convolution (figure 3):
`tfclust/reporting/filters.py`. The figures say which images these are, and how
many channels are of no use. Differs: channels are drawn or chosen by a rule, as
nobody can choose by hand what is written without being looked at.
"""

import dataclasses

import numpy as np

from tfclust.evaluation.protocols import layers
from tfclust.evaluation.protocols.record import Column, Protocol
from tfclust.options import check, option

_MOST_PICTURES = 1_000  # of a network, so that a page stays below 10 MB


@dataclasses.dataclass(frozen=True)
class Config:
    """Knobs of the channels; `probe_layers` chooses the layers."""

    filter_channels: int = option(
        8, "Channels of each layer whose images are shown.", lower=1
    )
    filter_images: int = option(
        9,
        "Images a channel, those that excite it most.",
        source="DeepCluster, figures 4 and 5",
        lower=1,
    )
    filter_choice: str = option(
        "random",
        "Which channels are shown: random, drawn by evaluation_seed; or "
        "variance, those that differ most from image to image. Channels alike "
        "for all images are never shown.",
        choices=("random", "variance"),
    )

    def __post_init__(self):
        check(self)


def run(subject, config):
    """Figures of a `Subject`; none of a baseline without a network."""
    if subject.network.keras_model is None:
        return {}
    from tfclust.evaluation.excitation import excited

    model = subject.network.keras_model()
    maps = layers.maps_of("filters", model, config)
    found = excited(
        model, maps, subject.test, config.filter_images, **subject.passes
    )
    names = subject.test.manifest().names
    figures: dict = {"layers": list(found)}
    for place, (layer, of) in enumerate(found.items()):
        channels = chosen(of, config, place)
        figures[f"{layer}_alike"] = float(np.mean(~of.varies))
        figures[f"{layer}_num_channels"] = len(of.varies)
        figures[f"{layer}_channels"] = [
            _channel(of, int(channel), names) for channel in channels
        ]
    return figures


def chosen(found, config, place):
    """int `[n]`, the channels of a layer that are shown.

    Args:
      found: `Excited`.
      config: `EvaluationConfig`.
      place: int, of the layer among all.
    """
    varying = np.flatnonzero(found.varies)
    if config.filter_choice == "variance":
        order = np.argsort(-found.variance[varying], kind="stable")
        return varying[order[: config.filter_channels]]
    random = np.random.default_rng([config.evaluation_seed, place])
    return np.sort(random.permutation(varying)[: config.filter_channels])


def _channel(found, channel, names):
    """A channel's images, for JSON."""
    rows = found.rows[:, channel].tolist()
    return {
        "channel": channel,
        "images": rows,
        "names": [str(names[row]) for row in rows],
        "activations": found.values[:, channel].tolist(),
    }


def check_network(config, network, train):
    """Refuses what has no layers, and more pictures than a page bears."""
    del train  # of any images
    maps = layers.checked_maps("filters", config, network)
    count = len(maps) * config.filter_channels * config.filter_images
    if count > _MOST_PICTURES:
        raise ValueError(
            f"the page of filters has room for {_MOST_PICTURES:,} pictures of "
            f"a network. Received: {len(maps)} layers of filter_channels="
            f"{config.filter_channels} with filter_images="
            f"{config.filter_images}, which are {count:,}. Lower one of them, "
            "or name fewer probe_layers."
        )


def columns(figures):
    """How many channels of each layer are of no use; the page has the rest."""
    return tuple(
        Column(
            f"channels of {layer} alike for all images %",
            f"{layer}_alike",
            percent=True,
            short=f"{layer} alike",
        )
        for layer in figures.get("layers", ())
    )


PROTOCOL = Protocol(
    run,
    Config,
    learns=False,
    columns=columns,
    words="a page of filters and the images that excite them",
    labels=False,
    judges=False,
    default_for=(),
    check_network=check_network,
)
