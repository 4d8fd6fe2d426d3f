"""Frozen stages: what training leaves as it is, and the pass that stops there.

A frozen layer's weights get no gradient and no weight decay, and its batch norm
uses its running statistics and leaves them alone: Keras does so for a layer
that is not `trainable`. `passes` adds that the frozen layers at a network's
start run as in inference, so their dropout drops nothing either, and that no
gradient is computed for them.
"""

import keras
import tensorflow as tf
from keras import layers

from tfclust.backbones import graph
from tfclust.backbones.levels import stage_numbers


def freeze(backbone, num_stages):
    """Freezes the first stages of `backbone`, in place.

    Args:
      backbone: a functional `keras.Model`, as `build` and `adapt` give it.
      num_stages: int, of `levels.stages`; 1 is the stem, 0 freezes nothing.

    Raises:
      ValueError: if the network has fewer stages.
    """
    numbers = stage_numbers(backbone)
    count = 1 + max(numbers.values(), default=0)
    if not 0 <= num_stages <= count:
        raise ValueError(
            f"frozen_stages must be between 0 and {count} for backbone "
            f"{backbone.name}: its stem and the {count - 1} stages after it. "
            f"Received: frozen_stages={num_stages}."
        )
    for layer, number in numbers.items():
        if number < num_stages:
            layer.trainable = False


def passes(backbone):
    """The backbone as a function that stops at what is frozen.

    It sees which layers are frozen when this is called. Layers frozen behind
    one that is trained pass gradients on, as Keras has it.

    Args:
      backbone: a functional `keras.Model`, as `adapt` gives it.

    Returns:
      A function of `images` `[B, H, W, 3]` and `training` -> `[B, F]`.
    """
    steps = graph.steps(backbone)
    last = _last_frozen(steps)
    if last is None:
        return lambda images, training: backbone(images, training=training)
    lower = keras.Model(backbone.inputs[0], steps[last].output)
    upper = None
    if last + 1 < len(steps):
        upper = keras.Model(steps[last].output, backbone.outputs[0])

    def run(images, training):
        x = tf.stop_gradient(lower(images, training=False))
        return x if upper is None else upper(x, training=training)

    return run


def _last_frozen(steps):
    """Position up to which all is frozen; None if nothing is."""
    learns = [_learns(step.operation) for step in steps]
    first = learns.index(True) if True in learns else len(steps)
    cuts = [position for position in graph.cuts(steps) if position < first]
    if not cuts:
        return None
    frozen = any(_is_frozen(s.operation) for s in steps[: cuts[-1] + 1])
    return cuts[-1] if frozen else None


def _learns(operation):
    """Whether a step may change the weights, at any depth."""
    return any(
        layer.trainable and not isinstance(layer, layers.Normalization)
        for layer in _with_weights(operation)
    )


def _is_frozen(operation):
    return any(not layer.trainable for layer in _with_weights(operation))


def _with_weights(operation):
    """The layers in it, itself included, that have weights of their own."""
    if not isinstance(operation, layers.Layer):
        return []
    return [
        layer
        for layer in operation._flatten_layers()
        if layer._trainable_variables or layer._non_trainable_variables
    ]
