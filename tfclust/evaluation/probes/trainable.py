"""A copy of a measured network, to be trained further."""

import keras

from tfclust.backbones.copying import copy_of
from tfclust.runtime import replicas
from tfclust.runtime.machine import PRECISIONS


def trainable_copy(network, precision="none"):
    """A copy with weights of its own, float32 and all of them trainable.

    What trains it leaves the measured network as it is. Under several replicas
    batch norms take the statistics of the global batch, so that their number
    changes no result. Made in the strategy's scope.

    Args:
      network: `Network`.
      precision: one of `runtime.machine.PRECISIONS`, in which it computes.

    Returns:
      A functional `keras.Model`.

    Raises:
      ValueError: if a layer cannot be rebuilt.
    """
    synchronized = replicas.num_replicas() > 1

    def copied(layer):
        config = layer.get_config()
        if "dtype" in config:  # operations of keras.ops have none
            config["dtype"] = PRECISIONS[precision]
        if isinstance(layer, keras.layers.BatchNormalization):
            config["synchronized"] = synchronized
        return type(layer).from_config(config)

    needs = "training further needs layers described by their get_config."
    copy = copy_of(network.keras_model(), copied, needs)
    # Each by itself: a model that is trainable already would pass nothing on.
    for layer in copy._flatten_layers():
        layer.trainable = True
    return copy
