"""The state of a network that is trained further, for a start after a kill.

All variables, in their order: weights, statistics, the optimizer's buffers, the
seeds of dropout. Batches, crops and rates follow from (seed, step), so a
training that goes on from here takes the steps of one that was never stopped.
"""

import numpy as np


class Keeper:
    """Keeps the state of one training in a `FeatureStore`.

    Args:
      store: `FeatureStore`.
      key: str, the digest of all that the training depends on.
    """

    def __init__(self, store, key):
        self._store, self._key = store, key

    def load(self, variables):
        """Restores variables; returns the steps that are done, 0 for none."""
        arrays = self._store.get_all(self._key)
        if arrays is None:
            return 0
        step = int(arrays.pop("step"))
        shapes = {_name(i): tuple(v.shape) for i, v in enumerate(variables)}
        if {name: array.shape for name, array in arrays.items()} != shapes:
            # Of another version of the code: these steps are taken anew.
            return 0
        for i, variable in enumerate(variables):
            variable.assign(arrays[_name(i)])
        return step

    def save(self, variables, step):
        """Keeps the state after so many steps, in place of the one before."""
        arrays = {
            _name(i): variable.numpy() for i, variable in enumerate(variables)
        }
        self._store.put_all(self._key, {**arrays, "step": np.int64(step)})

    def forget(self):
        """Removes the state, once the training is done."""
        self._store.remove(self._key)


def _name(position):
    return f"{position:05d}"
