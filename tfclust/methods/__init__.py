"""The methods, one file each. A new one is a file here and a line below."""

from tfclust.methods.base import ExampleLosses, Method, Outputs
from tfclust.methods.deepcluster_v2 import DeepClusterV2
from tfclust.methods.fixed_labels import FixedLabels
from tfclust.methods.swav import SwAV

METHODS: dict[str, type[Method]] = {
    "swav": SwAV,
    "deepcluster_v2": DeepClusterV2,
    "fixed_labels": FixedLabels,
}

__all__ = [
    "METHODS",
    "DeepClusterV2",
    "ExampleLosses",
    "FixedLabels",
    "Method",
    "Outputs",
    "SwAV",
]
