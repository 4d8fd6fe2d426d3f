"""The kernels of a network's first convolution, as they act on images."""

from typing import NamedTuple

import keras
import numpy as np
from keras import layers

from tfclust.backbones import graph

_PLAIN_SIZE = 32


class FirstFilters(NamedTuple):
    """The n kernels of the first convolution.

    Attributes:
      name: str, of its layer.
      kernels: float32 `[n, h, w, C]`. Of a network that sees colours, C is 3:
        red, green and blue of the image, whatever order or scale the network
        takes them in.
      are_colours: bool; else each of the C channels is something of its own,
        such as Sobel's edges.
    """

    name: str
    kernels: np.ndarray
    are_colours: bool


def first_filters(backbone):
    """The `FirstFilters` of a network, or None if it begins with none.

    Args:
      backbone: a functional `keras.Model`, as `build` and `adapt` give it.
    """
    found = _first_convolution(backbone, ())
    if found is None:
        return None
    layer, fronts = found
    kernel = layer.kernel.numpy()  # [h, w, C, n]
    kernels = np.moveaxis(kernel, -1, 0).astype(np.float32)
    if kernels.shape[-1] != 3:
        return FirstFilters(layer.name, kernels, False)
    to_input = _of_colours(fronts, graph.input_size(backbone))  # [3, C]
    return FirstFilters(layer.name, kernels @ to_input.T, True)


def _first_convolution(model, fronts):
    """The first `Conv2D` and the models that lead to it, or None.

    None too if a layer with trained weights comes before: what a convolution
    sees then is no image.
    """
    steps = graph.steps(model)
    for step in steps:
        operation, before = step.operation, fronts
        if step.inputs:  # all but the images themselves
            source = steps[step.inputs[0]].output
            before = (*fronts, keras.Model(model.inputs[0], source))
        if isinstance(operation, layers.Conv2D):
            return operation, before
        if _is_graph(operation):
            found = _first_convolution(operation, before)
            if found is not None:
                return found
        if _learns(operation):
            return None
    return None


def _is_graph(operation):
    """Whether a step is a model whose layers can be looked at."""
    is_sequential = isinstance(operation, keras.Sequential)
    return is_sequential or hasattr(operation, "operations")


def _learns(operation):
    """Whether a step has trained weights; a mean and a deviation are none."""
    return (
        isinstance(operation, layers.Layer)
        and not isinstance(operation, layers.Normalization)
        and bool(operation.weights)
    )


def _of_colours(fronts, size):
    """How red, green and blue come to the convolution, `[3, C]`.

    What lies before is affine in a colour: scales, means, another order. Read
    from plain pictures, at whose middle no border is seen.
    """
    size = size or _PLAIN_SIZE
    plain = np.zeros([4, size, size, 3], np.float32)
    plain[1:] = np.eye(3, dtype=np.float32)[:, None, None]
    for front in fronts:
        plain = front(plain, training=False)
    seen = np.asarray(plain)
    middle = seen[:, seen.shape[1] // 2, seen.shape[2] // 2]  # [4, C]
    return middle[1:] - middle[0]
