"""Networks of keras.applications and models of the user's as backbones."""

import re

import keras
import numpy as np
import pytest
from keras import layers

from tests.support.marks import slow
from tfclust import backbones
from tfclust.backbones import adapting, applications, graph, settings

PREPROCESSING = {
    "-1..1": keras.applications.mobilenet_v2,
    "imagenet": keras.applications.densenet,
    "bgr": keras.applications.resnet,
    "0..255": keras.applications.efficientnet,
}
# Bare networks and the module whose `preprocess_input` they ask for.
BARE = {
    "densenet121": ("conv1_conv", keras.applications.densenet),
    "inception_v3": ("conv2d_94", keras.applications.inception_v3),
    "inception_resnet_v2": (
        "conv2d",
        keras.applications.inception_resnet_v2,
    ),
    "mobilenet_1.00_None": ("conv1", keras.applications.mobilenet),
    "mobilenetv2_1.00_None": ("Conv1", keras.applications.mobilenet_v2),
    "nasnet_mobile": ("stem_conv1", keras.applications.nasnet),
    "resnet50": ("conv1_conv", keras.applications.resnet),
    "resnet152v2": ("conv1_conv", keras.applications.resnet_v2),
    "vgg16": ("block1_conv1", keras.applications.vgg16),
    "vgg19": ("block1_conv1", keras.applications.vgg19),
    "xception": ("block1_conv1", keras.applications.xception),
}


@pytest.fixture
def images():
    return np.random.default_rng(0).random((2, 64, 64, 3), np.float32)


def features_of(network, inputs):
    """Pooled output of a bare network."""
    return np.mean(network(inputs), axis=(1, 2))


def test_every_network_of_keras_is_known_or_refused_by_name():
    constructors = [
        name for name in dir(keras.applications) if re.match("[A-Z]", name)
    ]
    assert len(constructors) >= 38
    assert set(settings.APPLICATIONS) <= set(constructors)
    for name in set(constructors) - set(settings.APPLICATIONS):
        with pytest.raises(ValueError, match=f"{name} chooses its layers"):
            backbones.build(name)


@pytest.mark.parametrize("kind", PREPROCESSING)
def test_scaling_equals_kerass_preprocess_input(kind, images):
    inputs = keras.Input([None, None, 3])
    model = keras.Model(inputs, adapting.preprocessed(inputs, kind))
    expected = PREPROCESSING[kind].preprocess_input(images * 255)
    # Values reach 255 in float32.
    np.testing.assert_allclose(model(images), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("model_name", BARE)
def test_each_bare_network_gets_its_own_scaling(model_name, images):
    first_layer, module = BARE[model_name]
    kind = applications.preprocessing_of(model_name, first_layer)
    inputs = keras.Input([None, None, 3])
    model = keras.Model(inputs, adapting.preprocessed(inputs, kind))
    expected = module.preprocess_input(images * 255)
    np.testing.assert_allclose(model(images), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", [slow("MobileNetV3Small"), "VGG16"])
def test_a_named_network_sees_what_keras_feeds_it(name, images):
    backbone = backbones.build(name)
    network = getattr(keras.applications, name)(include_top=False, weights=None)
    network.set_weights(backbone.get_weights())
    module = {
        "MobileNetV3Small": keras.applications.mobilenet_v3,
        "VGG16": keras.applications.vgg16,
    }[name]
    expected = features_of(network, module.preprocess_input(images * 255))
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(
        backbone(images), expected, rtol=1e-3, atol=1e-3 * scale
    )


def test_named_networks_forget_their_start_within_a_short_run(images):
    backbone = backbones.build("MobileNetV2", sync_batch_norm=True)
    norms = adapting.batch_norms(backbone)
    assert len(norms) == 52
    assert {layer.momentum for layer in norms} == {0.9}
    assert {layer.epsilon for layer in norms} == {1e-3}  # the network's own
    assert all(layer.synchronized for layer in norms)
    assert backbone(images, training=False).shape == (2, 1280)


def test_a_networks_maps_and_stages_are_found():
    backbone = backbones.build("MobileNetV2")
    maps = backbones.pyramid(backbone)
    shapes = keras.Model(backbone.input, maps).compute_output_shape(
        (1, 96, 64, 3)
    )
    # Channels 144, 192, 576 are the expanded ones before each stride.
    assert shapes == {
        "P2": (1, 24, 16, 144),
        "P3": (1, 12, 8, 192),
        "P4": (1, 6, 4, 576),
        "P5": (1, 3, 2, 1280),
    }
    stages = backbones.stages(backbone)
    assert len(stages) == 5
    assert sum(len(s) for s in stages) == len(backbone.weights)
    assert stages[0][0].path.startswith("Conv1/")


def test_an_instance_keeps_its_weights_and_gets_bytes_if_it_rescales(images):
    network = keras.applications.EfficientNetV2B0(
        include_top=False, weights=None
    )
    backbone = backbones.adapt(network, sync_batch_norm=True)
    assert backbone.output_shape == (None, 1280)
    assert len(backbone.weights) == len(network.weights)
    for ours, theirs in zip(backbone.weights, network.weights, strict=True):
        assert ours is theirs
    np.testing.assert_allclose(
        backbone(images), features_of(network, images * 255), rtol=1e-4
    )
    assert all(n.synchronized for n in adapting.batch_norms(network))
    assert backbones.adapt(backbone) is backbone


def test_an_instance_without_rescaling_gets_its_familys_scaling(images):
    network = keras.applications.MobileNet(include_top=False, weights=None)
    backbone = backbones.adapt(network)
    x = keras.applications.mobilenet.preprocess_input(images * 255)
    inner = keras.Model(backbone.input, graph.steps(backbone)[3].output)
    outer = keras.Model(network.input, graph.steps(network)[2].output)
    np.testing.assert_allclose(inner(images), outer(x), rtol=1e-3, atol=1e-5)


def test_scaling_can_be_said_outright(images):
    network = keras.applications.MobileNetV3Small(
        include_top=False, weights=None, include_preprocessing=False
    )
    assert adapting.expected_input(network) == "-1..1"
    plain = backbones.adapt(network, preprocessing="none")
    np.testing.assert_allclose(
        plain(images), features_of(network, images), rtol=1e-4
    )
    with pytest.raises(ValueError, match="preprocessing=caffe"):
        backbones.adapt(network, preprocessing="caffe")


def convolution(inputs, **settings):
    return layers.Conv2D(4, 3, strides=2, **settings)(inputs)


def test_a_models_own_map_is_pooled_and_its_weights_shared(images):
    inputs = keras.Input([None, None, 3])
    model = keras.Model(inputs, convolution(inputs), name="mine")
    backbone = backbones.adapt(model)
    assert backbone.name == "mine"
    np.testing.assert_allclose(
        backbone(images), features_of(model, images), rtol=1e-5, atol=1e-6
    )
    assert backbone.weights[0] is model.weights[0]


def test_a_model_that_ends_in_features_is_returned_itself():
    inputs = keras.Input([None, None, 3])
    x = layers.GlobalMaxPooling2D()(convolution(inputs))
    model = keras.Model(inputs, x)
    assert backbones.adapt(model) is model


def test_features_leave_in_float32(images):
    inputs = keras.Input([None, None, 3])
    x = convolution(inputs, dtype="bfloat16")
    x = layers.GlobalMaxPooling2D(dtype="bfloat16")(x)
    assert backbones.adapt(keras.Model(inputs, x))(images).dtype == "float32"


def rescaled(x):
    return layers.Rescaling(1 / 255)(layers.ZeroPadding2D(1)(x))


def normalized(x):
    return layers.Normalization(mean=[120.0] * 3, variance=[1.0] * 3)(x)


@pytest.mark.parametrize("start", [rescaled, normalized])
def test_a_model_that_wants_bytes_gets_bytes(start, images):
    inputs = keras.Input([None, None, 3])
    model = keras.Model(inputs, convolution(start(inputs)))
    backbone = backbones.adapt(model)
    np.testing.assert_allclose(
        backbone(images),
        features_of(model, images * 255),
        rtol=1e-4,
        atol=1e-5,
    )
    assert backbones.adapt(backbone) is backbone


def test_a_normalization_learnt_from_bytes_gets_bytes(images):
    normalization = layers.Normalization()
    normalization.adapt(images * 255)
    inputs = keras.Input([None, None, 3])
    model = keras.Model(inputs, convolution(normalization(inputs)))
    assert adapting.expected_input(model) == "0..255"


def test_a_network_nested_in_a_model_is_looked_into(images):
    inputs = keras.Input([64, 64, 3])
    network = keras.Sequential([layers.Rescaling(1 / 255), layers.Conv2D(4, 3)])
    model = keras.Model(inputs, network(inputs))
    np.testing.assert_allclose(
        backbones.adapt(model)(images),
        features_of(model, images * 255),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("known_size", [True, False])
def test_a_sequential_model_is_taken(known_size, images):
    start = [keras.Input([64, 64, 3])] if known_size else []
    model = keras.Sequential([*start, layers.Conv2D(4, 3)])
    backbone = backbones.adapt(model)
    np.testing.assert_allclose(
        backbone(images), features_of(model, images), rtol=1e-5, atol=1e-6
    )
    assert backbones.adapt(backbone) is backbone


class Subclassed(keras.Model):
    def __init__(self, channels=5):
        super().__init__()
        self.convolution = layers.Conv2D(channels, 3)
        self.norm = layers.BatchNormalization()

    def call(self, images, training=False):
        return self.norm(self.convolution(images), training=training)


def test_a_subclassed_model_is_taken(images):
    model = Subclassed()
    backbone = backbones.adapt(model, sync_batch_norm=True)
    assert backbone(images, training=True).shape == (2, 5)
    assert model.norm.synchronized
    assert len(backbone.trainable_variables) == 4


def test_batch_norm_is_left_alone_unless_told():
    inputs = keras.Input([None, None, 3])
    x = layers.BatchNormalization(momentum=0.7, synchronized=True)(inputs)
    model = keras.Model(inputs, x)
    norm = adapting.batch_norms(model)[0]
    backbones.adapt(model)
    assert (norm.momentum, norm.synchronized) == (0.7, True)
    backbones.adapt(model, sync_batch_norm=False, batch_norm_momentum=0.8)
    assert (norm.momentum, norm.synchronized) == (0.8, False)


def two_inputs():
    first, second = keras.Input([8, 8, 3]), keras.Input([8, 8, 3])
    return keras.Model([first, second], first + second)


def grey_input():
    inputs = keras.Input([8, 8, 1])
    return keras.Model(inputs, inputs * 1.0)


def classifier():
    inputs = keras.Input([8, 8, 3])
    x = layers.Flatten()(inputs)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


def tokens():
    inputs = keras.Input([8, 8, 3])
    return keras.Model(inputs, layers.Reshape([64, 3])(inputs))


def two_outputs():
    inputs = keras.Input([8, 8, 3])
    return keras.Model(inputs, [inputs * 1.0, inputs * 2.0])


def fails_on_any_size():
    return keras.Sequential([layers.Flatten(), layers.Dense(3)])


@pytest.mark.parametrize(
    "model, words",
    [
        (two_inputs, "one batch of RGB images"),
        (grey_input, "one batch of RGB images"),
        (classifier, "include_top=False"),
        (tokens, "features .B, F. or a feature map"),
        (two_outputs, "features .B, F. or a feature map"),
        (fails_on_any_size, "keras.Input.shape. of a fixed size"),
    ],
)
def test_models_of_another_kind_are_refused(model, words):
    with pytest.raises(ValueError, match=words):
        backbones.adapt(model())


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="keras.Model.*'resnet18'"):
        backbones.adapt("resnet18")


def test_cuts_are_where_no_shortcut_goes_around():
    inputs = keras.Input([8, 8, 3])
    a = layers.Conv2D(3, 1, name="a")(inputs)
    b = layers.Conv2D(3, 1, name="b")(a)
    c = layers.Add(name="c")([a, b])
    d = layers.ReLU(name="d")(c)
    steps = graph.steps(keras.Model(inputs, d))
    names = [steps[i].operation.name for i in graph.cuts(steps)[1:]]
    assert names == ["a", "c", "d"]


def test_a_shared_layer_appears_as_this_model_uses_it():
    shared = layers.Conv2D(3, 1, strides=2)
    first, second = keras.Input([8, 8, 3]), keras.Input([16, 16, 3])
    keras.Model(first, shared(first))
    model = keras.Model(second, shared(second))
    steps = graph.steps(model)
    assert steps[1].output.shape == (None, 8, 8, 3)
    assert graph.strides(model, steps) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "size", "smallest"),
    [
        ("VGG16", 8, 32),
        slow("InceptionV3", 64, 75),
        slow("EfficientNetB0", 8, 32),
    ],
)
def test_images_too_small_for_a_network_are_refused_with_the_least_size(
    name, size, smallest
):
    backbone = backbones.build(name, image_size=size)
    with pytest.raises(ValueError) as error:
        backbones.check_size(backbone, "view_sizes", size)
    assert f"{backbone.name} is too deep" in str(error.value)
    assert f"view_sizes={size}. Give {smallest} or more" in str(error.value)
    backbones.check_size(backbone, "view_sizes", smallest)
    tiny = backbone(np.zeros((1, smallest, smallest, 3), np.float32))
    assert np.isfinite(tiny).all()
    with pytest.raises(ValueError, match=f"Give {smallest}"):
        backbones.check_size(backbone, "view_sizes", smallest - 1)


def test_own_backbones_are_followed_to_the_size_they_need():
    images = keras.Input([None, None, 3])
    x = layers.Conv2D(4, 7, strides=2)(images)
    x = layers.GlobalAveragePooling2D()(x)
    backbone = keras.Model(images, x, name="mine")
    backbones.check_size(backbone, "image_size", 7)
    with pytest.raises(ValueError, match="mine is too deep.*Give 7"):
        backbones.check_size(backbone, "image_size", 6)
