"""Weights that others have published, for the backbones of this library.

`read` takes PyTorch's files and safetensors, recognises whose layout they have,
and gives arrays that fit a backbone, with projector and prototypes where the
file has them. `imagenet` reads the weights that Keras itself publishes.
"""

from typing import TYPE_CHECKING

from tfclust.runtime.first_use import on_first_use

if TYPE_CHECKING:
    from tfclust.backbones.pretrained.heads import Head
    from tfclust.backbones.pretrained.reading import (
        ENDINGS,
        Published,
        read,
    )
else:
    __getattr__, __dir__ = on_first_use(__name__)

__all__ = ["ENDINGS", "Head", "Published", "read"]
