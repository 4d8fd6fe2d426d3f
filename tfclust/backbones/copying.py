"""A network again, with weights of its own."""

import keras


def copy_of(model, copy_layer, needs, *, recursive=False):
    """A functional model rebuilt layer by layer, with the same values.

    Args:
      model: functional `keras.Model`.
      copy_layer: function from a layer to its copy, without weights.
      needs: str, a sentence for the error: what needs layers that are described
        by their `get_config`.
      recursive: whether `copy_layer` gets the layers inside nested models too.

    Returns:
      A `keras.Model`.

    Raises:
      ValueError: if a layer cannot be rebuilt from its configuration.
    """
    try:
        copy = keras.models.clone_model(
            model, clone_function=copy_layer, recursive=recursive
        )
        copy.set_weights(model.get_weights())
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"{needs} Received: {model.name}, which fails with: {error}"
        ) from error
    return copy
