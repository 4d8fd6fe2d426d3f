"""Trains a method for the contract tests, on some numbers of replicas.

python -m tests.support.contract_run METHOD OUTPUT.npz REPLICAS ...
"""

import itertools
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from tests.methods.cases import CASES
from tests.support.tiny import digits, tiny_backbone, two_views
from tfclust import methods, optimizers

HALFWAY = 6  # of 12 steps, within an epoch of 4


def build(
    name,
    *,
    jit_compile=False,
    rate=0.1,
    momentum=0.9,
    batch_norm=False,
    **knobs,
):
    """A compiled tiny method; the same weights at every call."""
    case = CASES[name]
    backbone = tiny_backbone(batch_norm=batch_norm)
    keras.utils.set_random_seed(4)
    method = case.make(backbone, **{**case.knobs, **knobs})
    optimizer = optimizers.SGD(rate, momentum=momentum, weight_decay=1e-4)
    method.compile(optimizer=optimizer, jit_compile=jit_compile)
    return method


def views(num_images=64, batch_size=16, **knobs):
    """Four steps an epoch; the seed of everything stateless is 0.

    Colours would be compiled anew for each shape and device: test_views has
    them, and the contract's runs.
    """
    knobs = {"augmentation": "none", **knobs}
    return two_views(digits(num_images), batch_size=batch_size, **knobs)


def codes_of_fixed_units(method, strategy, batch):
    """Assignments of given projections, over all replicas in row order.

    None of a method without clusters.
    """
    if not isinstance(method, methods.ClusteringMethod):
        return {}
    rows = batch // strategy.num_replicas_in_sync
    shape = (2, batch, method.projection_width)
    units = np.random.default_rng(0).normal(size=shape)
    units /= np.linalg.norm(units, axis=-1, keepdims=True)
    units = np.float32(units)

    @tf.function
    def assign(local, index):
        scores = method.score(local, local)
        outputs = methods.Outputs(local, local, local, scores)
        return method.assign(outputs, index)

    def of_replica(values):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                values(context.replica_id_in_sync_group * rows)
            )
        )

    local = of_replica(lambda first: units[:, first : first + rows])
    index = of_replica(lambda first: np.arange(first, first + rows))
    found = strategy.run(assign, args=(local, index))
    parts = [
        np.concatenate(
            [p.numpy() for p in strategy.experimental_local_results(x)]
        )
        for x in tf.nest.flatten(found)
    ]
    return {f"codes/{i}": part for i, part in enumerate(parts)}


class StopAt(keras.callbacks.Callback):
    """Ends the run after a step, as an interruption does."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.step:
            self.model.stop_training = True


class KeepStates(keras.callbacks.Callback):
    """Puts copies of the state after some steps into `states`."""

    def __init__(self, states, steps):
        super().__init__()
        self.states, self.steps = states, steps

    def on_train_batch_end(self, batch, logs=None):
        self._keep(batch + 1)

    def on_epoch_end(self, epoch, logs=None):
        self._keep(logs["step"])  # after the epoch's figures, as runs save

    def _keep(self, step):
        if step in self.steps:
            self.states[step] = copied_state(self.model)


class Whole:
    """A run of 12 steps, kept after its first, fourth, sixth and last.

    Args:
      make: function of no arguments that gives a method; the same each time.
      make_views: function of no arguments that gives views of 4 steps an epoch.
    """

    def __init__(self, make, make_views):
        self._make, self._make_views = make, make_views
        self.method, self.states = make(), {}
        kept = KeepStates(self.states, (1, 4, 6))
        self.method.fit(make_views(), epochs=3, callbacks=[kept])
        self.states[12] = copied_state(self.method)

    def at(self, step):
        """The method as it was after the step, and its views."""
        self.method.load_state(self.states[step])
        return self.method, self.method.views

    def assert_goes_on(self):
        """Stopped and resumed, it has the same bits.

        From an epoch's end and from within one, where it is stopped as well.
        """
        resumed = self._make()
        resumed.prepare(self._make_views())
        for start, stop in ((6, 12), (4, 6)):  # anew, and over what is there
            resumed.load_state(self.states[start])
            # Stopped, not shorter: label times depend on the run's length.
            resumed.fit(
                resumed.views,
                epochs=3,
                start_step=start,
                callbacks=[StopAt(stop)],
            )
            found = resumed.state()
            assert set(found) == set(self.states[stop])
            for key, value in self.states[stop].items():
                np.testing.assert_array_equal(found[key], value, err_msg=key)


def trained(name, strategy):
    """A method halfway on `strategy`, its state, and codes.

    Which are those of the same run of three epochs, whatever the strategy.
    """
    with strategy.scope():
        # At a low rate a dozen steps do not amplify the rounding of sums.
        method = build(name, rate=0.02, batch_norm=True)
    method.prepare(views())
    arrays = {}
    if name == "swav":  # training moves the prototypes that codes rest on
        arrays = codes_of_fixed_units(method, strategy, batch=16)
    method.fit(method.views, epochs=3, callbacks=[StopAt(HALFWAY)])
    if name != "swav":  # training fills the label memory
        arrays = codes_of_fixed_units(method, strategy, batch=16)
    return method, {**arrays, **copied_state(method)}


def copied_state(method):
    return {key: np.copy(value) for key, value in method.state().items()}


def gone_on(method, states):
    """The state after three epochs, from that which `trained` gave."""
    states = {k: v for k, v in states.items() if not k.startswith("codes/")}
    method.load_state(states)
    method.fit(method.views, epochs=3, start_step=HALFWAY)
    return copied_state(method)


def main(name, output, *counts):
    """Writes `<replicas>/<array>` of each count of replicas, one after another.

    All share the logical CPUs of the largest, into which this process is split.
    `<replicas> from <others>/<array>` is of a run that went on.
    """
    counts = [int(count) for count in counts]
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * max(counts)
    tf.config.set_logical_device_configuration(cpu, logical)
    runs = {}
    for count in counts:
        strategy = tf.distribute.get_strategy()
        if count > 1:
            # Strategies of one process must not share keys; TensorFlow's own
            # tests part them so.
            tf.distribute.MirroredStrategy._collective_key_base = 1000 * count
            devices = [f"CPU:{i}" for i in range(count)]
            strategy = tf.distribute.MirroredStrategy(devices)
        runs[count] = trained(name, strategy)
    states = {str(count): state for count, (_, state) in runs.items()}
    ends = counts[0], counts[-1]
    for count, other in itertools.product(ends, ends):
        state = gone_on(runs[count][0], runs[other][1])
        states[f"{count} from {other}"] = state
    arrays = {
        f"{run}/{key}": array
        for run, state in states.items()
        for key, array in state.items()
    }
    np.savez(output, **arrays)


def read_states(output):
    """`{run: {array: values}}` of what `main` wrote."""
    states = {}
    for key, array in np.load(output).items():
        run, name = key.split("/", 1)
        states.setdefault(run, {})[name] = array
    return states


def assert_close(one, two):
    """Equal integers, floats to what reordered float32 sums leave.

    Steps amplify rounding of 1e-7: differences of 6e-5 were seen on one
    processor and of 2e-4 on another, where Keras's synchronised variance (the
    mean of squares less the square of the mean) cancels digits. Eight steps
    move these weights by 0.05 to 1.
    """
    assert set(one) == set(two)
    for key, value in one.items():
        if np.issubdtype(value.dtype, np.floating):
            np.testing.assert_allclose(
                value, two[key], rtol=2e-3, atol=5e-4, err_msg=key
            )
        else:
            np.testing.assert_array_equal(value, two[key], err_msg=key)


if __name__ == "__main__":
    main(*sys.argv[1:])
