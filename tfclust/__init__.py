"""Clusters and features from unlabelled images, in TensorFlow and Keras."""

import importlib

__version__ = "0.1.0"

_MODULES = (
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


def __getattr__(name):
    # On first use: `import tfclust` alone need not wait for TensorFlow.
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return [*globals(), *_MODULES]
