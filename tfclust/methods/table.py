"""The methods by name."""

from tfclust.engine.method import Method
from tfclust.methods.coke import CoKe
from tfclust.methods.deepcluster import DeepCluster
from tfclust.methods.deepcluster_v2 import DeepClusterV2
from tfclust.methods.fixed_labels import FixedLabels
from tfclust.methods.odc import ODC
from tfclust.methods.sela import SeLa
from tfclust.methods.sela_v2 import SeLaV2
from tfclust.methods.swav import SwAV

METHODS: dict[str, type[Method]] = {
    "swav": SwAV,
    "deepcluster": DeepCluster,
    "deepcluster_v2": DeepClusterV2,
    "fixed_labels": FixedLabels,
    "sela": SeLa,
    "sela_v2": SeLaV2,
    "odc": ODC,
    "coke": CoKe,
}
