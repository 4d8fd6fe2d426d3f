"""A trained method as a SavedModel that needs nothing of tfclust.

`save` writes the SavedModel, and beside it `assets.extra/backbone.keras` for
consumers that need a Keras graph, and `model_card.json`.
"""

from typing import TYPE_CHECKING

from tfclust.runtime.first_use import on_first_use

if TYPE_CHECKING:
    from tfclust.saved_model.decoding import (
        OK,
        STATUSES,
        Decoded,
        Fitted,
        decode,
        decode_with,
    )
    from tfclust.saved_model.graph import Graph, load_graph
    from tfclust.saved_model.loading import Loaded, load, read_card
    from tfclust.saved_model.saving import (
        Differences,
        Extras,
        compare_reload,
        save,
    )
    from tfclust.saved_model.versions import (
        BACKBONE_FILE,
        CARD_FILE,
        CLUSTERS_FILE,
        MAX_PIXELS,
        newest_version,
        write_next,
    )
else:
    __getattr__, __dir__ = on_first_use(__name__)

__all__ = [
    "BACKBONE_FILE",
    "CARD_FILE",
    "CLUSTERS_FILE",
    "MAX_PIXELS",
    "OK",
    "STATUSES",
    "Decoded",
    "Differences",
    "Extras",
    "Fitted",
    "Graph",
    "Loaded",
    "compare_reload",
    "decode",
    "decode_with",
    "load",
    "load_graph",
    "newest_version",
    "read_card",
    "save",
    "write_next",
]
