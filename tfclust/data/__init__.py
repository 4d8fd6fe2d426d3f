"""Images in, batches of views out: sources, sampling, crops, colours."""

from typing import TYPE_CHECKING

from tfclust.runtime.first_use import on_first_use

if TYPE_CHECKING:
    from tfclust.data.config import MAX_BAD_SHARE, PRESETS, ViewsConfig
    from tfclust.data.reading.scan import UnreadableImages
    from tfclust.data.sources.base import ArraySource, Manifest, Source
    from tfclust.data.sources.encoded import telling_lost_images
    from tfclust.data.sources.few_labels import listed, stratified, write_list
    from tfclust.data.sources.parts import Sample, held_out
    from tfclust.data.sources.schemes import check_uri
    from tfclust.data.sources.telling import left_out, passed_over
    from tfclust.data.sources.uris import open_source
    from tfclust.data.views.batches import Views
    from tfclust.data.views.fixed_crops import FixedCrops
    from tfclust.data.views.mapping import ImagePass
    from tfclust.data.views.passes import evaluation_batches
    from tfclust.data.views.sizes import default_resize
else:
    __getattr__, __dir__ = on_first_use(__name__)

__all__ = [
    "MAX_BAD_SHARE",
    "PRESETS",
    "ArraySource",
    "FixedCrops",
    "ImagePass",
    "Manifest",
    "Sample",
    "Source",
    "UnreadableImages",
    "Views",
    "ViewsConfig",
    "check_uri",
    "default_resize",
    "evaluation_batches",
    "held_out",
    "left_out",
    "listed",
    "open_source",
    "passed_over",
    "stratified",
    "telling_lost_images",
    "write_list",
]
