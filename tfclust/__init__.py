"""Clusters and features from unlabelled images, in TensorFlow and Keras."""

from tfclust.runtime.first_use import on_first_use

__version__ = "0.1.0"
__getattr__, __dir__ = on_first_use(
    __name__,
    "backbones",
    "checkpoints",
    "data",
    "evaluation",
    "heads",
    "memory",
    "methods",
    "ops",
    "optimizers",
    "options",
    "pretraining",
    "saved_model",
)
