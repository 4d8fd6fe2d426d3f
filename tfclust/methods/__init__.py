"""The methods, one file each. A new one is a file here and a line below."""

from tfclust.methods.base import ExampleLosses, Method, Outputs
from tfclust.methods.deepcluster import DeepCluster
from tfclust.methods.deepcluster_v2 import DeepClusterV2
from tfclust.methods.swav import SwAV

METHODS: dict[str, type[Method]] = {
    "swav": SwAV,
    "deepcluster": DeepCluster,
    "deepcluster_v2": DeepClusterV2,
}

__all__ = [
    "METHODS",
    "DeepCluster",
    "DeepClusterV2",
    "ExampleLosses",
    "Method",
    "Outputs",
    "SwAV",
]
