"""What sizes of images a network takes."""

from typing import NamedTuple

from tfclust import backbones
from tfclust.backbones import graph
from tfclust.backbones.settings import FIXED_SIZE, is_from_keras
from tfclust.backbones.sizes import smallest_size

_PUBLISHED_SIDE = 224  # of AlexNet and VGG16


class Limits(NamedTuple):
    """Sides of images, in pixels."""

    least: int = 4
    most: int | None = None
    one_size: bool = False  # whether all views have the same

    def within(self, side):
        """The nearest side that the network takes."""
        side = max(side, self.least)
        return side if self.most is None else min(side, self.most)


def limits(config, start):
    """The `Limits` of a network.

    Args:
      config: `BackboneConfig` of what is given.
      start: `Start`, or None.
    """
    name = config.backbone
    if start is not None:
        name = start.knobs.get("backbone", name)
    if name in FIXED_SIZE:
        if start is None or config.init_stages is not None:
            return Limits(FIXED_SIZE[name], one_size=True)
        # The weights of its fully connected layers belong to one size.
        side = start.image_size or _PUBLISHED_SIDE
        return Limits(side, side, one_size=True)
    if not is_from_keras(name):
        return Limits()
    backbone = backbones.build(name)  # its layers alone can tell
    only = graph.input_size(backbone)
    if only is not None:
        return Limits(only, only, one_size=True)
    return Limits(smallest_size(backbone))
