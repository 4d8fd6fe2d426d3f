"""What is measured: images to features, and what else a network can tell."""

import hashlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class PseudoLabels(NamedTuple):
    """The labels that a method gave its training images.

    rows: int `[N, H]`, a column a head, -1 for none. data_digest: str, the
    `manifest_hash` of the images.
    """

    rows: np.ndarray
    data_digest: str


class Network(NamedTuple):
    """A network to be measured, or a baseline without one.

    Attributes:
      features: float32 images `[B, S, S, 3]` in [0, 1] to `[B, F]`, in
        inference mode.
      digest: str, of all that the features depend on beside the images; empty
        if that is not known, and features are then not kept on disk.
      keras_model: function without arguments to the functional `keras.Model`
        behind the features; None if there is none.
      clusters: images to int `[B]`, the method's own clusters, or None.
      pseudo_labels: `PseudoLabels`, or None.
      strategy: `tf.distribute.Strategy` whose replicas share each batch of a
        pass over images, in whose scope the network was made; None for one
        device.
    """

    features: Callable
    digest: str = ""
    keras_model: Callable | None = None
    clusters: Callable | None = None
    pseudo_labels: PseudoLabels | None = None
    strategy: Any = None

    def rectified(self):
        """The same with a ReLU after the features, in its model too."""
        import tensorflow as tf

        make = self.keras_model
        digest = self.digest and f"{self.digest}+relu"
        return self._replace(
            features=lambda images: tf.nn.relu(self.features(images)),
            digest=digest,
            keras_model=None if make is None else lambda: _rectified(make()),
        )


def _rectified(model):
    import keras

    features = keras.layers.ReLU(name="feature_relu")(model.outputs[0])
    return keras.Model(model.inputs[0], features, name=model.name)


def as_network(backbone):
    """A `Network` of one, or of a function from images to features."""
    return backbone if isinstance(backbone, Network) else Network(backbone)


def keras_network(model, *, head=(), words="", **others):
    """The `Network` of a functional Keras model `[B, S, S, 3]` to `[B, F]`.

    Args:
      model: `keras.Model`.
      head: tensors on which `clusters` depends as well.
      words: str, what else that depends on.
      **others: attributes of `Network`.

    Raises:
      ValueError: if a weight is not finite.
    """
    check_weights(model)
    return Network(
        lambda images: model(images, training=False),
        digest=_digest(model, head, words),
        keras_model=lambda: model,
        **others,
    )


def check_weights(model):
    """Refuses a model that has diverged.

    Its features do not always tell: a convolution and its ReLU in one kernel of
    a CPU turn NaN into 0.
    """
    for weight in model.weights:
        if not np.isfinite(weight.numpy()).all():
            raise ValueError(
                "weights must be finite. Received: NaN or infinity in "
                f"{weight.path} of the network. The training has diverged: "
                "lower learning_rate, or evaluate an older checkpoint."
            )


def _digest(model, head, words):
    """SHA-256 of a model's layers and weights, and of a head; hex."""
    # The layers hold what is no weight: means, strides, precision.
    layers = json.dumps(model.get_config(), sort_keys=True, default=repr)
    # Batch norms made under replicas differ in training alone.
    layers = layers.replace('"synchronized": true', '"synchronized": false')
    digest = hashlib.sha256(f"{layers}\n{words}".encode())
    for number in (*model.weights, *head):
        array = np.ascontiguousarray(number.numpy())
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
