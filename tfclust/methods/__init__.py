"""The methods, one file each. A new one is a file here and a line below."""

from tfclust.methods.base import ExampleLosses, Method, Outputs
from tfclust.methods.deepcluster_v2 import DeepClusterV2
from tfclust.methods.sela import SeLa
from tfclust.methods.sela_v2 import SeLaV2
from tfclust.methods.swav import SwAV

METHODS: dict[str, type[Method]] = {
    "swav": SwAV,
    "deepcluster_v2": DeepClusterV2,
    "sela": SeLa,
    "sela_v2": SeLaV2,
}

__all__ = [
    "METHODS",
    "DeepClusterV2",
    "ExampleLosses",
    "Method",
    "Outputs",
    "SeLa",
    "SeLaV2",
    "SwAV",
]
