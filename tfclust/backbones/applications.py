"""The networks of `keras.applications` by name, without their classifier.

Each gets the input that its published weights take (its family's
`preprocess_input`), so that weights trained on ImageNet fit and untrained
networks see inputs in the usual range. Batch norm keeps its own epsilon, which
is part of the network; its momentum becomes 0.9, because 0.999 (MobileNet) and
0.9997 (NASNet) still remember the random start at the end of a short run.
"""

import re
from typing import NamedTuple

import keras

BATCH_NORM_MOMENTUM = 0.9


class Family(NamedTuple):
    """Networks of one module of `keras.applications`.

    models, first_layer: patterns of `model.name` and of the first convolution's
    name. preprocessing: what the network takes if it has no preprocessing
    inside, one of `adapting.PREPROCESSING`.
    """

    models: str
    first_layer: str
    preprocessing: str


FAMILIES = (
    Family(r"convnext_", r".*_stem", "imagenet"),
    Family(r"densenet\d", r"conv1_conv", "imagenet"),
    Family(r"efficientnetb", r"stem_conv", "0..255"),
    Family(r"efficientnetv2-", r"stem_conv", "-1..1"),
    Family(r"inception_", r"conv2d(_\d+)?", "-1..1"),
    Family(r"mobilenet", r"conv1?", "-1..1"),
    Family(r"nasnet", r"stem_conv1", "-1..1"),
    Family(r"resnet\d+v2", r"conv1_conv", "-1..1"),
    Family(r"resnet\d+", r"conv1_conv", "bgr"),
    Family(r"vgg\d", r"block1_conv1", "bgr"),
    Family(r"xception", r"block1_conv1", "-1..1"),
)


def application(name, *, weights=None):
    """A network as Keras builds it, without classifier, for any image size.

    Args:
      name: one of `settings.APPLICATIONS`.
      weights: None for random ones, "imagenet" (downloaded by Keras), or a
        file of weights.

    Returns:
      A `keras.Model` that ends in a feature map; `adapting.adapt` makes it a
      backbone.
    """
    constructor = getattr(keras.applications, name)
    images = keras.Input([None, None, 3], dtype="float32", name="images")
    return constructor(include_top=False, weights=weights, input_tensor=images)


def preprocessing_of(model_name, first_layer_name):
    """The input of a bare network of `keras.applications`; None if unknown."""
    for family in FAMILIES:
        if re.match(family.models, model_name.lower()) and re.fullmatch(
            family.first_layer, first_layer_name.lower()
        ):
            return family.preprocessing
    return None
