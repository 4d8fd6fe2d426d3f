"""AlexNet and VGG16: sizes, numbers, dropout, what they refuse."""

import keras
import numpy as np
import pytest

from tests.support.processes import run_in_subprocess
from tests.support.tiny import digits
from tfclust import backbones, data, optimizers, saved_model
from tfclust.backbones import alexnet, graph, vgg
from tfclust.methods import METHODS
from tfclust.runs import recipes
from tfclust.training import checks

SMALLEST = {"alexnet": 63, "vgg16_bn": 32}
SETTINGS = {"image_mean": (0.4, 0.5, 0.6), "image_std": (0.2, 0.3, 0.4)}


def with_some_weights(backbone, seed=0):
    """The backbone itself, with statistics and biases as after training."""
    random = np.random.default_rng(seed)
    for variable in backbone.weights:
        kind, shape = variable.path.split("/")[-1], variable.shape
        if kind in ("moving_variance", "gamma"):
            variable.assign(random.uniform(0.5, 1.5, shape))
        elif kind != "kernel":
            variable.assign(random.uniform(-0.3, 0.3, shape))
    return backbone


@pytest.fixture(scope="module")
def smallest():
    """Each network at the fewest pixels: 23 and 34 million weights."""
    keras.utils.set_random_seed(0)
    return {
        name: with_some_weights(
            backbones.build(name, image_size=size, **SETTINGS)
        )
        for name, size in SMALLEST.items()
    }


def images_of(size, count=2):
    shape = [count, size, size, 3]
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def convolution(x, kernel, bias, *, stride=1, padding):
    border = (padding, padding)
    x = np.pad(x, ((0, 0), border, border, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(
        x, kernel.shape[:2], axis=(1, 2)
    )[:, ::stride, ::stride]  # [B, h, w, C, i, j]
    return np.einsum("bhwcij,ijco->bhwo", windows, kernel, optimize=True) + bias


def pooling(x, size):
    windows = np.lib.stride_tricks.sliding_window_view(
        x, (size, size), axis=(1, 2)
    )
    return windows[:, ::2, ::2].max(axis=(4, 5))


def features_by_numpy(name, weights, images):
    """The paper's network in float64, in inference."""
    weights = iter([np.float64(array) for array in weights])

    def block(x, **settings):
        kernel, bias, gamma, beta, mean, variance = (
            next(weights) for _ in range(6)
        )
        x = convolution(x, kernel, bias, **settings)
        x = (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta
        return np.maximum(x, 0)

    def fully_connected(x):
        return x @ next(weights) + next(weights)

    x = np.float64(images) - SETTINGS["image_mean"]
    x = x / SETTINGS["image_std"]
    if name == "alexnet":
        x = pooling(block(x, stride=4, padding=2), 3)
        x = pooling(block(x, padding=2), 3)
        x = block(block(x, padding=1), padding=1)
        x = pooling(block(x, padding=1), 3)
    else:
        for depth in (2, 2, 3, 3, 3):
            for _ in range(depth):
                x = block(x, padding=1)
            x = pooling(x, 2)
    x = np.maximum(fully_connected(x.reshape(len(x), -1)), 0)
    return fully_connected(x)


@pytest.mark.parametrize("name", SMALLEST)
def test_features_match_numpy_and_precede_the_relu(name, smallest):
    images = images_of(SMALLEST[name])
    features = smallest[name](images).numpy()
    expected = features_by_numpy(name, smallest[name].get_weights(), images)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(features, expected, atol=1e-4 * scale)
    assert (features < 0).any()


def conv_weights(size, channels_in, channels_out):
    """Kernel and bias, and batch norm's gamma and beta."""
    return (size**2 * channels_in + 1 + 2) * channels_out


def test_alexnet_has_the_published_number_of_weights():
    backbone = backbones.build("alexnet")
    convolutions = (
        conv_weights(11, 3, 96)  # 35,136
        + conv_weights(5, 96, 256)  # 615,168
        + conv_weights(3, 256, 384)  # 885,888
        + conv_weights(3, 384, 384)  # 1,328,256
        + conv_weights(3, 384, 256)  # 885,504
    )
    fully_connected = (6 * 6 * 256 + 1) * 4096 + (4096 + 1) * 4096
    trainable = sum(int(np.prod(v.shape)) for v in backbone.trainable_variables)
    assert trainable == convolutions + fully_connected == 58_284_096
    # 62,378,344 is Krizhevsky's network in one tower, without batch norm.
    batch_norm = 2 * (96 + 256 + 384 + 384 + 256)
    assert trainable - batch_norm + 4096 * 1000 + 1000 == 62_378_344
    maps = [
        step.output.shape[1]
        for step in graph.steps(backbone)
        if step.operation.name.endswith(("conv", "pool"))
    ]
    assert maps == [55, 27, 27, 13, 13, 13, 13, 6]


def test_vgg16_has_the_published_number_of_weights(smallest):
    # At 32 pixels fc6 has 1 x 1 x 512 inputs, at 224 there are 7 x 7 x 512.
    trainable = smallest["vgg16_bn"].trainable_variables
    counted = sum(int(np.prod(v.shape)) for v in trainable)
    counted += (7 * 7 - 1) * 512 * 4096
    # torchvision's vgg16_bn, with its 1000-way classifier.
    assert counted + 4096 * 1000 + 1000 == 138_365_992


@pytest.mark.parametrize("name", SMALLEST)
def test_convolutions_and_layers_start_as_deepclusters(name):
    keras.utils.set_random_seed(1)
    backbone = backbones.build(name, image_size=SMALLEST[name])
    kernel = backbone.get_layer("stage6_fc7").kernel
    # 16.8 million draws.
    assert np.std(kernel) == pytest.approx(0.01, rel=1e-3)
    last = {"alexnet": "stage4_conv", "vgg16_bn": "stage4_conv3"}[name]
    kernel = backbone.get_layer(last).kernel
    expected = np.sqrt(2 / (3 * 3 * kernel.shape[-1]))
    assert np.std(kernel) == pytest.approx(expected, rel=5e-3)
    biases = [v for v in backbone.weights if v.path.endswith("/bias")]
    assert not any(np.any(bias) for bias in biases)


@pytest.mark.parametrize(
    "name, inputs",
    [
        ("alexnet", {"fc6_dropout": "flat", "fc7_dropout": "fc6_relu"}),
        ("vgg16_bn", {"fc7_dropout": "fc6_relu"}),
    ],
)
def test_dropout_stands_where_the_paper_has_it(name, inputs, smallest):
    backbone = smallest[name]
    steps = graph.steps(backbone)
    found = {
        step.operation.name: steps[step.inputs[0]].operation.name
        for step in steps
        if isinstance(step.operation, keras.layers.Dropout)
    }
    assert found == inputs
    assert {backbone.get_layer(layer).rate for layer in found} == {0.5}
    images = images_of(SMALLEST[name])
    np.testing.assert_array_equal(backbone(images), backbone(images))
    one, two = (backbone(images, training=True) for _ in range(2))
    assert np.abs(one - two).max() > 0


@pytest.mark.parametrize("name", SMALLEST)
def test_features_are_float32_under_mixed_precision(name, smallest):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        backbone = backbones.build(name, image_size=SMALLEST[name], **SETTINGS)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    backbone.set_weights(smallest[name].get_weights())
    images = images_of(SMALLEST[name])
    features, expected = backbone(images), smallest[name](images)
    assert features.dtype == "float32"
    # bfloat16 keeps 8 bits, through 7 and 15 layers.
    error = np.linalg.norm(features - expected) / np.linalg.norm(expected)
    assert error < 0.1


@pytest.mark.parametrize("name", SMALLEST)
def test_images_too_small_for_the_poolings_are_refused(name, smallest):
    size = SMALLEST[name]
    assert smallest[name].output_shape == (None, 4096)
    assert smallest[name].input_shape == (None, size, size, 3)
    with pytest.raises(ValueError, match=f"at least {size} pixels.*=224"):
        backbones.build(name, image_size=size - 1)
    build = {"alexnet": alexnet.alexnet, "vgg16_bn": vgg.vgg16_bn}[name]
    with pytest.raises(ValueError):  # Keras's own words
        build(image_size=size - 1)


def recipe(image_size, view_sizes=(), backbone="alexnet"):
    many = len(view_sizes) or 1
    return recipes.Recipe(
        run=recipes.RunConfig(
            data="digits:", workdir="runs/a", epochs=1, image_size=image_size
        ),
        method=METHODS["swav"].Config(),
        views=data.ViewsConfig(
            view_sizes=view_sizes,
            num_views=(2,) * many,
            view_scales=((0.2, 1.0),) * many,
        ),
        backbone=backbones.BackboneConfig(backbone=backbone),
        optimizer=optimizers.OptimizerConfig(warmup_epochs=0),
    )


@pytest.mark.parametrize(
    "told, words",
    [
        (recipe(224, (224, 96)), "224, 96 pixels. Give image_size=224"),
        (recipe(160, (224,), "vgg16_bn"), "224, 160 pixels"),
        (recipe(32), "at least 63 pixels.*CIFAR's: image_size=224"),
        (recipe(224, (48,)), "48, 224 pixels"),
    ],
)
def test_a_recipe_of_other_sizes_is_refused_before_images_are_read(told, words):
    with pytest.raises(ValueError, match=words):
        checks.check_alone(told)


def test_a_recipe_of_one_size_is_taken():
    for told in (
        recipe(224),
        recipe(224, (224,)),
        recipe(224, (224, 96), "small"),
    ):
        checks.check_alone(told)


@pytest.mark.parametrize(
    "knobs, words",
    [
        ({"width": 2}, "width=2"),
        ({"small_images": True}, "small_images=True"),
        ({"zero_init_residual": True}, "no residual blocks"),
        ({"weights": "imagenet"}, "weights=imagenet"),
        ({"image_mean": (0.5,)}, "three numbers"),
    ],
)
@pytest.mark.parametrize("name", SMALLEST)
def test_settings_that_they_lack_are_refused(name, knobs, words):
    with pytest.raises(ValueError, match=words):
        backbones.build(name, **knobs)


@pytest.mark.parametrize(
    "name, depths",
    [("alexnet", (1, 1, 1, 1, 1)), ("vgg16_bn", (2, 2, 3, 3, 3))],
)
def test_stages_are_the_convolutions_and_then_fc6_and_fc7(
    name, depths, smallest
):
    stages = backbones.stages(smallest[name])
    assert [len(s) for s in stages] == [*(6 * d for d in depths), 2, 2]
    assert all(v.path.startswith("stem_") for v in stages[0])
    assert stages[6][0].path == "stage6_fc7/kernel"


def test_convolutions_can_be_taken_over_at_another_image_size(
    smallest, tmp_path
):
    smallest["alexnet"].save(tmp_path / "a.keras")
    larger = backbones.build("alexnet", image_size=95)
    before = larger.get_layer("stage5_fc6").kernel.numpy()
    with pytest.raises(ValueError, match="stage5_fc6"):
        backbones.load_weights(larger, tmp_path / "a.keras")
    loaded = backbones.load_weights(larger, tmp_path / "a.keras", stages=4)
    assert (loaded.num_loaded, loaded.num_weights) == (30, 34)
    for layer in ("stem_conv", "stage4_conv"):
        np.testing.assert_array_equal(
            larger.get_layer(layer).kernel,
            smallest["alexnet"].get_layer(layer).kernel,
        )
    kept = larger.get_layer("stage5_fc6").kernel
    np.testing.assert_array_equal(kept, before)


def test_alexnet_has_no_exact_pyramid_and_vgg16_has_one(smallest):
    # Of 224 pixels AlexNet makes 55 positions, not 56; such maps do not count.
    for name, expected in (
        ("alexnet", {}),
        ("vgg16_bn", {"P2": 256, "P3": 512, "P4": 512, "P5": 512}),
    ):
        maps = backbones.pyramid(smallest[name])
        assert {level: x.shape[-1] for level, x in maps.items()} == expected


def method_on_alexnet():
    keras.utils.set_random_seed(0)
    backbone = backbones.build("alexnet", image_size=63, sobel=True)
    method = METHODS["deepcluster"](backbone, num_clusters=(3,), pca_width=2)
    method.compile(optimizer=optimizers.SGD(0.01, momentum=0.9))
    knobs = {"num_views": (1,), "view_scales": ((0.4, 1.0),)}
    method.prepare(data.Views(digits(8), batch_size=4, image_size=63, **knobs))
    return method


EXPORTED_ALONE = """
import sys, keras, numpy as np, tensorflow as tf
images = np.load("{folder}/images.npy")
expected = np.load("{folder}/features.npy")
model = keras.models.load_model("{version}/assets.extra/backbone.keras")
np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-4)
assert np.std(model(images, training=True) - model(images, training=True)) > 0
served = tf.saved_model.load("{version}")
np.testing.assert_allclose(
    served(tf.constant(images)), expected, rtol=1e-4, atol=1e-4)
assert set(served.signatures) == {{"serving_default", "images"}}
assert not any(name.startswith("tfclust") for name in sys.modules)
"""


@pytest.mark.slow
def test_deepcluster_on_alexnet_resumes_and_is_exported(tmp_path):
    method = method_on_alexnet()
    method.fit(method.views, steps=1)
    features = method.extract("features")
    assert features.shape == (8, 4096)
    assert features.min() < 0 < features.max()  # fc7 before its ReLU
    saved = method.state()
    method.fit(method.views, steps=2, start_step=1)
    resumed = method_on_alexnet()
    resumed.load_state(saved)
    # The masks of dropout go on where they were.
    resumed.fit(resumed.views, steps=2, start_step=1)
    for one, two in zip(
        method.backbone.variables, resumed.backbone.variables, strict=True
    ):
        np.testing.assert_array_equal(one, two)

    version = saved_model.save(method, tmp_path / "exported")
    images = images_of(63)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "features.npy", method.backbone(images))
    run_in_subprocess(EXPORTED_ALONE.format(folder=tmp_path, version=version))
