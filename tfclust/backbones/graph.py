"""A functional Keras model read as a list of steps.

Keras keeps the graph in `_keras_history` and `_inbound_nodes`. All code that
inspects a model's graph goes through this file.
"""

import math
from typing import NamedTuple

import keras

PROBE_SIZE = 256  # pixels; halves evenly eight times


class Step(NamedTuple):
    """One operation, its output, and the positions of its inputs."""

    operation: keras.Operation
    output: keras.KerasTensor
    inputs: tuple[int, ...]


def steps(model):
    """The steps between the input and the output of `model`, inputs first.

    A layer that `model` shares with other models appears as it is used here.
    """
    done: list[Step] = []
    positions: dict = {}
    waiting = [model.outputs[0]]
    while waiting:
        tensor = waiting[-1]
        operation, node_index, _ = tensor._keras_history
        key = (id(operation), node_index)
        sources = operation._inbound_nodes[node_index].input_tensors
        missing = [s for s in sources if _key(s) not in positions]
        if key in positions:
            waiting.pop()
        elif missing:
            waiting.extend(missing)
        else:
            inputs = tuple(positions[_key(source)] for source in sources)
            positions[key] = len(done)
            done.append(Step(operation, tensor, inputs))
            waiting.pop()
    return done


def cuts(model_steps):
    """Positions of steps that everything after them depends on.

    Within a residual block there is none, because the shortcut goes around it.
    """
    last_use = list(range(len(model_steps)))
    for position, step in enumerate(model_steps):
        for source in step.inputs:
            last_use[source] = position
    found, farthest = [], 0
    for position in range(len(model_steps)):
        if farthest <= position:
            found.append(position)
        farthest = max(farthest, last_use[position])
    return found


def strides(model, model_steps):
    """Input pixels per position of each step; None if it is not a map.

    A float: 4.0 if the size divides evenly, about 4.06 if the network pads too
    little for that.
    """
    size = input_size(model) or PROBE_SIZE
    probe = keras.Model(model.inputs, [step.output for step in model_steps])
    outputs = probe.compute_output_spec(
        keras.KerasTensor([1, size, size, model.inputs[0].shape[-1]])
    )
    if not isinstance(outputs, (list, tuple)):
        outputs = [outputs]
    return [
        size / output.shape[1] if _is_map(output.shape) else None
        for output in outputs
    ]


def replayed(model, inputs):
    """The outputs of the layers of `model`, called again one by one.

    Unlike `model(inputs)`, which nests `model` as one layer, this keeps the
    maps inside accessible. `keras.models.clone_model` does the same, but
    disconnects the result from the origin of `inputs`.
    """
    return model._run_through_graph(inputs, operation_fn=lambda layer: layer)


def input_size(model):
    """The side in pixels that `model` requires of its images, or None."""
    return model.inputs[0].shape[1]


def octave(stride):
    """How often the resolution was halved: 0 at stride 1, 2 at 4, 5 at 32."""
    return round(math.log2(stride))


def _key(tensor):
    operation, node_index, _ = tensor._keras_history
    return id(operation), node_index


def _is_map(shape):
    return len(shape) == 4 and bool(shape[1])
