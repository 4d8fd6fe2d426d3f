"""Weights from elsewhere as a SavedModel, without a run.

A checkpoint of SwAV's brings its projector and prototypes, and so clusters;
of all others the SavedModel has features, and as projections their directions.
"""

import dataclasses
import hashlib
import pathlib
from typing import Any

from tfclust import backbones, options, saved_model
from tfclust.backbones.settings import HUB, IMAGENET
from tfclust.layers import projectors
from tfclust.ops.clusterer import Clusterer
from tfclust.runs import exporting
from tfclust.runtime import terminal


@dataclasses.dataclass
class Features:
    """What `saved_model.save` needs of a model without clusters."""

    backbone: Any
    projector: Any
    unit_projections: bool = True


@dataclasses.dataclass
class Clusters(Features):
    """The same with prototypes: a tuple over heads of `[D, K]`."""

    prototypes: tuple = ()

    def clusterer(self):
        """A tuple over heads of `Clusterer`."""
        return tuple(Clusterer(kernel) for kernel in self.prototypes)


def export_weights(config, backbone_config):
    """Writes a backbone with given weights as the next version of an export.

    Args:
      config: `tfclust.export.ExportConfig` with `init_from` and `output`.
      backbone_config: `BackboneConfig` with the same `init_from`.

    Returns:
      `pathlib.Path` of the version.

    Raises:
      FileNotFoundError: if `init_from` is not there.
      ValueError: if its weights do not fit, or `output` cannot be written.
    """
    backbone = backbones.from_config(
        dataclasses.replace(backbone_config, init_from=""),
        image_size=config.image_size,
    )
    loaded = backbones.load_weights(
        backbone, config.init_from, application=backbone_config.backbone
    )
    if loaded.told:
        terminal.say(loaded.told)
    extras = exporting.extras_of(config)
    version = saved_model.save(
        _model(backbone, loaded),
        config.output,
        card=_card(config, backbone_config, loaded),
        image_size=config.image_size,
        resize_size=config.resize_size,
        max_pixels=config.max_pixels,
        extras=extras,
    )
    exporting.prune(config, config.output)
    return version


def _model(backbone, loaded):
    """`Clusters` where the file has a head, else `Features`."""
    width, head = backbone.output_shape[-1], loaded.head
    if head is None:
        same = projectors.projector(width, hidden_width=0, projection_width=0)
        return Features(backbone, same)
    projector = projectors.projector(
        width,
        hidden_width=head.hidden_width,
        projection_width=head.projection_width,
        hidden_batch_norm=head.hidden_batch_norm,
    )
    expected = [tuple(variable.shape) for variable in projector.weights]
    received = [array.shape for array in head.weights]
    if expected != received:
        raise ValueError(
            f"init_from={loaded.path}: a projector of features of width "
            f"{width} must have arrays of shapes {expected}. Received: "
            f"{received}."
        )
    projector.set_weights(head.weights)
    return Clusters(backbone, projector, prototypes=head.prototypes)


def _card(config, backbone_config, loaded):
    """What the model card tells of weights that come from elsewhere."""
    words = {
        name: options.text(getattr(backbone_config, name))
        for name in options.kinds(type(backbone_config))
        if name not in ("init_from", "init_stages")
    }
    published = config.init_from in (IMAGENET, HUB)
    return {
        "backbone": words,
        "init_from": {
            "file": None if published else loaded.path.name,
            "sha256": None if published else _sha256(loaded.path),
            "told": loaded.told or None,
        },
    }


def _sha256(path):
    with pathlib.Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
