"""Linear probes of a network's layers: where in it is what it has learnt?

DeepCluster's and SeLa's tables of AlexNet's conv1 to conv5, OpenSelfSup's of
ResNet's stages: each map is pooled to some 9,000 values
(`probes/pooled_maps.py`) and read by a linear layer of its own, all in one pass
over the images. `--probe_layers=last --linear_batch_norm=affine` is SwAV's
probe of 6 x 6 windows with batch norm.
"""

import dataclasses

from tfclust.evaluation.intervals import of_shares
from tfclust.evaluation.protocols.linear import columns_of, figures_of
from tfclust.evaluation.protocols.record import Protocol
from tfclust.evaluation.rows import chance_of
from tfclust.options import check, option


@dataclasses.dataclass(frozen=True)
class Config:
    """Knobs of the layers; the probes have those of `linear`."""

    probe_layers: tuple[str, ...] = option(
        (),
        "Layers to probe, or whose filters are shown: conv1 to conv5 of "
        "AlexNet and VGG, stem and stage1, ... of ResNets and small, P2 to P5 "
        "of other networks; last; or the names of Keras layers with maps. "
        "Empty for all of the first kinds.",
    )
    probe_pooling: str = option(
        "mean",
        "How a map becomes some 9,000 values: mean (DeepCluster, OpenSelfSup) "
        "or max (SeLa) of its windows.",
        choices=("mean", "max"),
    )

    def __post_init__(self):
        check(self)


def run(subject, config):
    """Figures of a `Subject`; none of a baseline without a network."""
    from tfclust.evaluation.probes.sgd import probe_subject

    if subject.network.keras_model is None:
        return {"layers": []}
    layers = layers_of(subject.network.keras_model(), config)
    found = probe_subject(subject, layers, config)
    figures: dict = {"layers": list(found)}
    for name, result in found.items():
        for figure, value in figures_of(result, config).items():
            figures[f"{name}_{figure}"] = value
        shares = f"{name}_top1", f"{name}_top5"
        figures |= of_shares(figures, shares, subject.test.num_images)
    return figures | chance_of(subject.test.labels)


def layers_of(model, config):
    """A function from images to `{layer: pooled map}`.

    Args:
      model: a functional `keras.Model`.
      config: `Config`.

    Raises:
      ValueError: if it has no such layer.
    """
    import keras
    import tensorflow as tf

    from tfclust.evaluation.probes.pooled_maps import pooled

    maps = maps_of("layers", model, config)
    network = keras.Model(model.inputs[0], maps)

    def layers(images):
        return {
            name: pooled(tf.cast(found, tf.float32), config.probe_pooling)
            for name, found in network(images, training=False).items()
        }

    return layers


def maps_of(protocol, model, config):
    """`{layer: [B, h, w, C]}`, the maps that `probe_layers` means.

    Args:
      protocol: str, who asks.
      model: a functional `keras.Model`.
      config: `Config`.

    Raises:
      ValueError: if it has no such layer.
    """
    from tfclust import backbones

    maps = backbones.layer_maps(model)
    if config.probe_layers:
        maps = {
            name: backbones.map_named(model, name)
            for name in config.probe_layers
        }
    if not maps:
        raise ValueError(
            f"the protocol {protocol} needs maps [B, h, w, C]. Received: "
            f"backbone {model.name}, in which none is found. Name its layers "
            f"with --probe_layers, or leave {protocol} out of protocols."
        )
    return maps


def checked_maps(protocol, config, network):
    """`maps_of` a `Network`; refuses a function of images."""
    if network.keras_model is None:
        raise ValueError(
            f"the protocol {protocol} looks into a network. Received: a "
            "function of images. Give evaluation.keras_network(model), or "
            f"leave {protocol} out of protocols."
        )
    return maps_of(protocol, network.keras_model(), config)


def check_network(config, network, train):
    """Refuses a function of images, and layers that are not there."""
    del train  # of any images
    checked_maps("layers", config, network)


def columns(figures):
    """Top-1 of each layer, then top-5 and the best epochs'."""
    found = [
        column
        for name in figures["layers"]
        for column in columns_of(
            f"linear probe of {name}", figures, f"{name}_", short=name
        )
    ]
    last = [column for column in found if not column.said]
    return (*(column for column in found if column.said), *last)


PROTOCOL = Protocol(
    run,
    Config,
    learns=True,
    columns=columns,
    words="linear probes of each layer (slow)",
    default_for=(),
    check_network=check_network,
)
