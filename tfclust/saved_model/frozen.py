"""Variables folded into constants, for servers that only answer.

The runtime then folds batch normalisation into convolutions, which it must not
do with variables, since these might change.
"""

import keras
import tensorflow as tf

from tfclust.ops.clusterer import Clusterer

# A graph is one protobuf message, of 2 GiB at most.
_MOST_BYTES = 1 << 30


def frozen(function, variables):
    """`function` with the values that Keras variables have now.

    Args:
      function: of a tensor, traceable.
      variables: Keras variables that it reads.

    Returns:
      A `tf.function` that reads no variable, traced once for each kind of
      argument, so that several signatures share its constants.

    Raises:
      ValueError: if the values do not fit into a graph.
    """
    values = [variable.numpy() for variable in variables]
    size = sum(value.nbytes for value in values)
    if size > _MOST_BYTES:
        raise ValueError(
            "frozen is for models that fit into one graph, of "
            f"{_MOST_BYTES:,} bytes. Received: {size:,} bytes of weights. "
            "Leave frozen out."
        )

    @tf.function(autograph=False)
    def call(images):
        # Made here, they are part of the graph.
        constants = [tf.constant(value) for value in values]
        mapping = list(zip(variables, constants, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return function(images)

    return call


def freeze_clusterer(clusterer):
    """A `Clusterer` of constants; None stays None."""
    if clusterer is None:
        return None
    return Clusterer(
        *(
            part.numpy() if isinstance(part, tf.Variable) else part
            for part in clusterer
        )
    )
