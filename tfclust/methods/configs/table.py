"""The knobs of the methods by name."""

from tfclust.engine.config import MethodConfig
from tfclust.methods.configs.coke import CoKeConfig
from tfclust.methods.configs.deepcluster import DeepClusterConfig
from tfclust.methods.configs.deepcluster_v2 import DeepClusterV2Config
from tfclust.methods.configs.fixed_labels import FixedLabelsConfig
from tfclust.methods.configs.odc import ODCConfig
from tfclust.methods.configs.sela import SeLaConfig
from tfclust.methods.configs.sela_v2 import SeLaV2Config
from tfclust.methods.configs.swav import SwAVConfig

# By the method's name, in the order of `methods.METHODS`.
CONFIGS: dict[str, type[MethodConfig]] = {
    "swav": SwAVConfig,
    "deepcluster": DeepClusterConfig,
    "deepcluster_v2": DeepClusterV2Config,
    "fixed_labels": FixedLabelsConfig,
    "sela": SeLaConfig,
    "sela_v2": SeLaV2Config,
    "odc": ODCConfig,
    "coke": CoKeConfig,
}
