"""Clusters and features from unlabelled images, in TensorFlow and Keras."""

from tfclust.runtime.first_use import on_first_use

__version__ = "0.1.0"
__getattr__, __dir__ = on_first_use(
    __name__,
    "assignment",
    "backbones",
    "data",
    "engine",
    "evaluation",
    "layers",
    "methods",
    "ops",
    "optimizers",
    "options",
    "runs",
    "saved_model",
    "training",
)
