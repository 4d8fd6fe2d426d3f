"""Backbones: functional Keras models from images to features.

All take float32 images `[B, H, W, 3]` in [0, 1], normalise them inside, and
return float32 features `[B, F]`. They consist of Keras's own layers, so a saved
backbone loads without this library.
"""

from typing import TYPE_CHECKING

from tfclust.runtime.first_use import on_first_use

if TYPE_CHECKING:
    from tfclust.backbones.adapting import adapt
    from tfclust.backbones.config import BackboneConfig
    from tfclust.backbones.factory import build, from_config
    from tfclust.backbones.first_layer import FirstFilters, first_filters
    from tfclust.backbones.frozen import freeze, passes
    from tfclust.backbones.initial_weights import Loaded, load_weights
    from tfclust.backbones.levels import pyramid, stages
    from tfclust.backbones.probed_maps import layer_maps, map_named
    from tfclust.backbones.settings import check_image_sizes, names
    from tfclust.backbones.sizes import check_size
else:
    __getattr__, __dir__ = on_first_use(__name__)

__all__ = [
    "BackboneConfig",
    "FirstFilters",
    "Loaded",
    "adapt",
    "build",
    "check_image_sizes",
    "check_size",
    "first_filters",
    "freeze",
    "from_config",
    "layer_maps",
    "load_weights",
    "map_named",
    "names",
    "passes",
    "pyramid",
    "stages",
]
