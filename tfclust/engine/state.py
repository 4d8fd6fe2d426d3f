"""The state of a run: every variable and memory of a method, by its path.

A path is made of attribute names: `labels/rows`, `bank/visited`. Within a Keras
model (backbone, projector) it uses the positions of layers, because Keras
numbers layers by process: a second model in one notebook would not find its
weights by their own paths.
"""

import keras

from tfclust.layers.memories import HostMemory


def arrays_of(method):
    """All that a resumed run needs, `{path: array}`."""
    arrays = {path: _array(holder) for path, holder in _holders(method)}
    if method.order_snapshot is not None:
        arrays["order_snapshot"] = method.order_snapshot
    return arrays


def load(method, arrays):
    """Restores what `arrays_of` returned, after `method.prepare`.

    Raises:
      ValueError: naming what is missing, unexpected or of another shape.
    """
    arrays = dict(arrays)
    snapshot = arrays.pop("order_snapshot", None)
    targets = dict(_holders(method))
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


def _array(holder):
    return holder.array if isinstance(holder, HostMemory) else holder.numpy()


def _holders(method):
    """(path, variable or `HostMemory`) for the method and its optimizer."""
    found = [
        pair
        for name, value in sorted(vars(method).items())
        for pair in _below(name, value)
    ]
    seen = {id(holder) for _, holder in found}
    missing = [v.path for v in method.variables if id(v) not in seen]
    if missing:
        raise RuntimeError(
            "every variable must be held by an attribute of the method, not "
            f"by a list or dict. Received: {missing}."
        )
    for i, variable in enumerate(method.optimizer.variables):
        # "conv2d_4_kernel_momentum": only the last word is the same elsewhere.
        slot = variable.name.rsplit("_", 1)[-1]
        found.append((f"optimizer/{i:04d}/{slot}", variable))
    return found


def _below(path, value):
    """What an attribute holds, directly or in its own attributes."""
    if isinstance(value, keras.Variable):
        return [(path, value)]
    if isinstance(value, keras.Model):
        return _numbered(path, value.variables)
    if not isinstance(value, (keras.layers.Layer, HostMemory)):
        return []
    found = [(path, value)] if isinstance(value, HostMemory) else []
    for name, inner in sorted(vars(value).items()):
        if not name.startswith("_"):
            found += _below(f"{path}/{name}", inner)
    if isinstance(value, keras.layers.Layer):
        # Keras's own layers keep some variables on private attributes.
        seen = {id(holder) for _, holder in found}
        left = [v for v in value.variables if id(v) not in seen]
        found += _numbered(path, left)
    return found


def _numbered(path, variables):
    return [
        (f"{path}/{i:04d}/{variable.name}", variable)
        for i, variable in enumerate(variables)
    ]


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
