"""The state of a run: every variable and memory of a method, by name.

Names count positions, since Keras numbers layers by process: a second model in
one notebook would not find its weights by path.
"""

import keras

from tfclust.layers.memories import HostMemory


def arrays_of(method):
    """All that a resumed run needs, `{explicit name: array}`."""
    arrays = {name: v.numpy() for name, v in _named_variables(method)}
    arrays |= {name: m.array for name, m in _host_memories(method)}
    if method.order_snapshot is not None:
        arrays["order_snapshot"] = method.order_snapshot
    return arrays


def load(method, arrays):
    """Restores what `arrays_of` gave, after `method.prepare`.

    Raises:
      ValueError: naming what is missing, unexpected or of another shape.
    """
    arrays = dict(arrays)
    snapshot = arrays.pop("order_snapshot", None)
    targets = dict([*_named_variables(method), *_host_memories(method)])
    _check_same_names(set(targets), set(arrays))
    for name, target in targets.items():
        host = isinstance(target, HostMemory)
        shape = target.array.shape if host else tuple(target.shape)
        if shape != arrays[name].shape:
            raise ValueError(
                f"the state's {name} must have shape {shape}. Received: "
                f"shape {arrays[name].shape}."
            )
    for name, target in targets.items():
        if isinstance(target, HostMemory):
            target.array[...] = arrays[name]
        else:
            target.assign(arrays[name])
    method.order_snapshot = snapshot


def _host_memories(method):
    for name, value in vars(method).items():
        if isinstance(value, HostMemory):
            yield f"{name}/host", value


def _named_variables(method):
    """(name, variable) of model and optimizer."""
    named: list = []
    seen: set[int] = set()
    for attribute, value in sorted(vars(method).items()):
        if isinstance(value, keras.layers.Layer):
            for i, variable in enumerate(value.variables):
                path = f"{attribute}/{i:04d}/{variable.name}"
                named.append((path, variable))
        elif isinstance(value, keras.Variable):
            named.append((attribute, value))
        seen.update(id(variable) for _, variable in named)
    missing = [v.path for v in method.variables if id(v) not in seen]
    if missing:
        raise RuntimeError(
            "every variable must hang on an attribute of the method, not "
            f"in a list or dict. Received: {missing}."
        )
    for i, variable in enumerate(method.optimizer.variables):
        # "conv2d_4_kernel_momentum": only the last word is no number.
        slot = variable.name.rsplit("_", 1)[-1]
        named.append((f"optimizer/{i:04d}/{slot}", variable))
    return named


def _check_same_names(expected, received):
    missing, extra = sorted(expected - received), sorted(received - expected)
    if missing or extra:
        raise ValueError(
            "the state does not belong to this method: missing "
            f"{_first(missing)}, unexpected {_first(extra)}."
        )


def _first(names):
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{names[:3] or 'none'}{more}"
