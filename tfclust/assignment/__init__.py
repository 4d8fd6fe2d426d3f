"""The cluster of each image, and what a person makes of it.

`assign` gives every image its cluster and writes the table; `embed` writes
features alone; `compare` sets two tables side by side.
"""

from typing import TYPE_CHECKING

from tfclust.runtime.first_use import on_first_use

if TYPE_CHECKING:
    from tfclust.assignment.config import ClusterConfig, EmbedConfig
    from tfclust.assignment.opening import embed, run
else:
    __getattr__, __dir__ = on_first_use(__name__)

__all__ = ["ClusterConfig", "EmbedConfig", "embed", "run"]
