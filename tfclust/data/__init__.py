"""Images in, batches of views out: sources, sampling, crops, colours."""

from typing import TYPE_CHECKING

from tfclust.runtime.first_use import on_first_use

if TYPE_CHECKING:
    from tfclust.data.config import MAX_BAD_SHARE, PRESETS, ViewsConfig
    from tfclust.data.encoded import telling_lost_images
    from tfclust.data.evaluation import default_resize, evaluation_batches
    from tfclust.data.parts import Sample, held_out
    from tfclust.data.scan import UnreadableImages
    from tfclust.data.schemes import check_uri
    from tfclust.data.source import ArraySource, Manifest, Source
    from tfclust.data.uris import open_source
    from tfclust.data.views import Views
else:
    __getattr__, __dir__ = on_first_use(__name__)

__all__ = [
    "MAX_BAD_SHARE",
    "PRESETS",
    "ArraySource",
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
    "open_source",
    "telling_lost_images",
]
