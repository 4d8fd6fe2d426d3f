"""Image backbones of KerasHub by their preset: `--backbone=hub:<preset>`.

A preset is a name such as `resnet_50_imagenet`, a handle of a site that
KerasHub knows, or a folder. It holds the network's configuration, weights, and
how images are scaled for it, which goes in front of the network here.
"""

import pathlib

import keras
import numpy as np

from tfclust.backbones.adapting import adapt, batch_norms
from tfclust.backbones.applications import BATCH_NORM_MOMENTUM
from tfclust.backbones.fused import fuse
from tfclust.backbones.settings import HUB, preset_of


def hub_backbone(name, *, trained=False, sync_batch_norm=False):
    """A network of KerasHub as a backbone.

    Args:
      name: "hub:<preset>".
      trained: whether it has the preset's weights, or random ones.
      sync_batch_norm: whether BN statistics span all replicas.

    Returns:
      A functional `keras.Model`, as `adapting.adapt` returns it.

    Raises:
      ValueError: if KerasHub is missing, or cannot give the preset, or it is
        no network of images.
    """
    network, converter = _preset(name, trained)
    scale, offset = _scaling(converter, name)
    model = _with_class_token(network)
    for layer in batch_norms(model):
        fuse(layer)
    return adapt(
        model,
        preprocessing=(scale, offset),
        sync_batch_norm=sync_batch_norm,
        batch_norm_momentum=BATCH_NORM_MOMENTUM,
    )


def _preset(name, trained):
    """The preset's network, and the converter of its images."""
    preset = preset_of(name)
    local = pathlib.Path(preset).expanduser()
    preset = str(local) if local.is_dir() else preset
    try:
        import keras_hub
    except ImportError as error:
        raise ValueError(
            f"backbone={name} needs KerasHub: pip install 'tfclust[{HUB}]'. "
            f"Received: {error}."
        ) from error
    try:
        return (
            keras_hub.models.Backbone.from_preset(preset, load_weights=trained),
            keras_hub.layers.ImageConverter.from_preset(preset),
        )
    except MemoryError:
        raise
    except Exception as error:  # each of its sites has its own
        lines = str(error).strip().splitlines() or [repr(error)]
        raise ValueError(
            f"backbone={name}: KerasHub cannot give this preset as a network "
            f"of images: {lines[0]} Connect this machine to the network once, "
            f"or give a folder that holds a preset: --backbone={HUB}:/a/folder."
        ) from error


def _scaling(converter, name):
    """(scale, offset) by channel, for images in [0, 1].

    Measured, not read: converters may scale in ways of their own.
    """
    converter.image_size = None  # sizes are those of the views
    images = np.random.default_rng(0).random([1, 4, 4, 3], np.float32)
    images[0, 0, 0], images[0, 0, 1] = 0.0, 1.0
    given = keras.ops.convert_to_numpy(converter(255.0 * images))
    offset = given[0, 0, 0]
    scale = given[0, 0, 1] - offset
    # Float32, of values up to 255.
    if not np.allclose(given, images * scale + offset, rtol=1e-4, atol=1e-3):
        raise ValueError(
            f"backbone={name} prepares its images in a way that is no scaling "
            "by channel. Received: "
            f"{type(converter).__name__}. Give another preset."
        )
    return scale.tolist(), offset.tolist()


def _with_class_token(network):
    """A vision transformer ends in its class token, others as they are."""
    if not getattr(network, "use_class_token", False):
        return network
    return keras.Model(network.inputs, network.output[:, 0], name=network.name)
