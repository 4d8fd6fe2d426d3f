"""The methods, one file each.

A new method is a file here, its knobs in `configs`, and a line in both tables:
`table.METHODS` and `configs.table.CONFIGS`, and its name here.
"""

from typing import TYPE_CHECKING

from tfclust.runtime.first_use import on_first_use

if TYPE_CHECKING:
    from tfclust.engine.clustering import ClusteringMethod
    from tfclust.engine.forward import Outputs
    from tfclust.engine.losses import ExampleLosses
    from tfclust.engine.method import Method
    from tfclust.methods.coke import CoKe
    from tfclust.methods.deepcluster import DeepCluster
    from tfclust.methods.deepcluster_v2 import DeepClusterV2
    from tfclust.methods.fixed_labels import FixedLabels
    from tfclust.methods.odc import ODC
    from tfclust.methods.sela import SeLa
    from tfclust.methods.sela_v2 import SeLaV2
    from tfclust.methods.swav import SwAV
    from tfclust.methods.table import METHODS
else:
    __getattr__, __dir__ = on_first_use(__name__)

__all__ = [
    "ODC",
    "METHODS",
    "ClusteringMethod",
    "CoKe",
    "DeepCluster",
    "DeepClusterV2",
    "ExampleLosses",
    "FixedLabels",
    "Method",
    "Outputs",
    "SeLa",
    "SeLaV2",
    "SwAV",
]
