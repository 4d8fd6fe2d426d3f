"""A small method to save as a SavedModel, and the outputs it must have."""

import types

import keras
import numpy as np
from keras import layers

from tfclust.ops.clusterer import Clusterer

SIZE = 16
OUTPUTS = {"features", "projections", "cluster", "cluster_score"}
OF_BYTES = OUTPUTS | {"status"}


def small_backbone(*, synchronized=False, dtype="float32", dropout=0.0):
    """Two convolutions with batch norm and a regularizer."""
    images = x = keras.Input([None, None, 3])
    for width in (6, 10):
        x = layers.ZeroPadding2D(1, dtype=dtype)(x)
        decay = keras.regularizers.L2(1e-3)
        x = layers.Conv2D(
            width, 3, strides=2, kernel_regularizer=decay, dtype=dtype
        )(x)
        x = layers.BatchNormalization(
            momentum=0.9, synchronized=synchronized, dtype=dtype
        )(x)
        x = layers.ReLU(dtype=dtype)(x)
    x = layers.Dropout(dropout, seed=3)(x)
    x = layers.GlobalAveragePooling2D(dtype="float32")(x)
    return keras.Model(images, x, name="stand_in")


def stand_in(backbone=None, *, unit_projections=True, seed=1):
    """What `save` reads of a method, with an affine map and a bias."""
    keras.utils.set_random_seed(seed)
    backbone = backbone or small_backbone()
    width = backbone.output_shape[-1]
    projector = keras.Sequential([layers.Input([width]), layers.Dense(5)])
    random = np.random.default_rng(seed)
    for variable in backbone.variables:
        if "moving_mean" in variable.path or "beta" in variable.path:
            variable.assign(random.uniform(-0.2, 0.2, variable.shape))
        elif "moving_variance" in variable.path or "gamma" in variable.path:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))

    def normal(*shape):
        return random.normal(size=shape).astype(np.float32)

    heads = (
        Clusterer(
            normal(4, 7),
            bias=normal(7),
            mean=normal(5),
            components=normal(5, 4),
        ),
        Clusterer(normal(5, 3), unit_rows=False),
    )
    return types.SimpleNamespace(
        backbone=backbone,
        projector=projector,
        unit_projections=unit_projections,
        clusterer=lambda: heads,
    )


def some_images(count=6, size=SIZE, seed=0):
    shape = [count, size, size, 3]
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def expected_outputs(method, images):
    """The four outputs from the Keras models and NumPy."""
    features = method.backbone(images, training=False).numpy()
    raw = method.projector(features, training=False).numpy()
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    head = method.clusterer()[0]
    x = (raw - head.mean) @ head.components
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    scores = x @ head.centroids + head.bias
    return {
        "features": features,
        "projections": raw / norms if method.unit_projections else raw,
        "cluster": scores.argmax(axis=1),
        "cluster_score": scores.max(axis=1),
    }
