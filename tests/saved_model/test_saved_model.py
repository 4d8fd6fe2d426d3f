"""A SavedModel gives the method's numbers without tfclust, and can be tuned."""

import io
import json
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

from tests.support.marks import slow
from tests.support.processes import run_in_subprocess
from tfclust import backbones, saved_model
from tfclust.data.views.passes import centred
from tfclust.ops import clusterer as clusterers
from tfclust.ops.clusterer import Clusterer
from tfclust.runtime import folders
from tfclust.saved_model import versions

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


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A method, and the version that was saved of it."""
    method = stand_in()
    folder = tmp_path_factory.mktemp("exports") / "mine"
    card = {
        "method": "swav",
        "data": "digits:",
        "num_images": np.int64(1797),
        "metrics": {"top1": np.float32(0.5)},
        "note": "Grüße",
    }
    path = saved_model.save(method, folder, card=card, image_size=SIZE)
    return method, path


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


def test_reload_equals_the_keras_model_to_1e_5(exported):
    method, path = exported
    images = some_images()
    loaded = tf.saved_model.load(str(path))
    expected = expected_outputs(method, images)
    by_signature = loaded.signatures["images"](images=tf.constant(images))
    assert set(by_signature) == OUTPUTS
    for name, value in expected.items():
        np.testing.assert_allclose(by_signature[name], value, atol=1e-5)
    np.testing.assert_allclose(
        loaded(tf.constant(images)), expected["features"], atol=1e-5
    )
    differences = saved_model.compare_reload(path.parent, method, images)
    assert max(differences) <= 1e-5


def test_raw_projections_stay_raw(tmp_path):
    method = stand_in(unit_projections=False)
    path = saved_model.save(method, tmp_path, image_size=SIZE)
    images = some_images()
    loaded = tf.saved_model.load(str(path))
    received = loaded.signatures["images"](images=tf.constant(images))
    np.testing.assert_allclose(
        received["projections"],
        expected_outputs(method, images)["projections"],
        atol=1e-5,
    )


def test_compare_reload_sees_another_model(exported):
    _, path = exported
    other = stand_in(seed=2)
    assert (
        saved_model.compare_reload(path, other, some_images()).features > 1e-3
    )


WITHOUT_TFCLUST = """
import sys


class NoTfclust:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tfclust":
            raise ImportError("tfclust must not be needed")


sys.meta_path.insert(0, NoTfclust())
import keras
import numpy as np
import tensorflow as tf

path = {path!r}
given = np.load({arrays!r})
images = tf.constant(given["images"])
model = tf.saved_model.load(path)
np.testing.assert_allclose(model(images), given["features"], atol=1e-5)
np.testing.assert_allclose(
    model(images, training=False), given["features"], atol=1e-5)
received = model.signatures["images"](images=images)
for name in ("projections", "cluster", "cluster_score"):
    np.testing.assert_allclose(received[name], given[name], atol=1e-5)

backbone = keras.models.load_model(path + "/assets.extra/backbone.keras")
np.testing.assert_allclose(backbone(images), given["features"], atol=1e-5)

layer = keras.layers.TFSMLayer(path, call_endpoint="images")
np.testing.assert_allclose(
    layer(images)["features"], given["features"], atol=1e-5)

target = tf.random.stateless_normal(given["features"].shape, [1, 2])
rate = 0.3
losses = []
for _ in range(15):
    with tf.GradientTape() as tape:
        features = model(images, training=True)
        loss = tf.reduce_mean((features - target) ** 2)
        penalty = tf.add_n([f() for f in model.regularization_losses])
        total = loss + penalty
    gradients = tape.gradient(total, model.trainable_variables)
    assert all(g is not None for g in gradients)
    for variable, gradient in zip(model.trainable_variables, gradients):
        variable.assign_sub(rate * gradient)
    losses.append(float(total))
assert losses[-1] < 0.8 * losses[0], losses
assert not any(name.startswith("tfclust") for name in sys.modules)
print("served")
"""


def test_model_works_and_learns_where_tfclust_is_not_installed(
    exported, tmp_path
):
    method, path = exported
    images = some_images()
    arrays = tmp_path / "given.npz"
    np.savez(arrays, images=images, **expected_outputs(method, images))
    code = WITHOUT_TFCLUST.format(path=str(path), arrays=str(arrays))
    assert run_in_subprocess(code).endswith("served\n")


def test_session_based_loader_serves_all_signatures(exported):
    method, path = exported
    images = some_images()
    encoded = [tf.io.encode_png(np.uint8(x * 255)).numpy() for x in images]
    encoded.append(b"no image")
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        meta = v1.saved_model.load(session, ["serve"], str(path))
        signatures = meta.signature_def

        def run(name, value):
            signature = signatures[name]
            (given,) = signature.inputs.values()
            wanted = {k: v.name for k, v in signature.outputs.items()}
            return session.run(wanted, {given.name: value})

        by_image = run("images", images)
        by_bytes = run("serving_default", encoded)
    assert list(signatures["serving_default"].inputs) == ["image_bytes"]
    expected = expected_outputs(method, images)
    for name, value in expected.items():
        np.testing.assert_allclose(by_image[name], value, atol=1e-5)
    rounded = np.floor(images * 255).astype(np.uint8).astype(np.float32) / 255
    expected = expected_outputs(method, rounded)
    np.testing.assert_allclose(
        by_bytes["features"][:-1], expected["features"], atol=1e-5
    )
    assert np.isnan(by_bytes["features"][-1]).all()
    assert by_bytes["cluster"][-1] == -1
    assert by_bytes["status"][-2:].tolist() == [
        b"ok",
        b"not a JPEG, PNG, GIF, BMP or WebP image",
    ]


def png_claiming(height, width):
    """A PNG's first bytes, then next to nothing."""
    begin = io.BytesIO()
    Image.new("RGB", (1, 1)).save(begin, "PNG")
    begin = bytearray(begin.getvalue())
    begin[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return bytes(begin)


def test_a_bad_image_spoils_no_row_but_its_own(exported):
    loaded = tf.saved_model.load(str(exported[1]))
    serve = loaded.signatures["serving_default"]
    good = [tf.io.encode_png(np.uint8(x * 255)).numpy() for x in some_images()]
    expected = serve(image_bytes=tf.constant(good))
    bad = {
        1: (b"", b"empty"),
        2: (good[2][:-20], b"damaged"),
        # 529 megapixels; one more than the bound
        4: (png_claiming(23000, 23000), b"too many pixels"),
        5: (png_claiming((1 << 26) + 1, 1), b"too many pixels"),
    }
    mixed = [bad[i][0] if i in bad else good[i] for i in range(6)]
    for rows in (mixed, [mixed[1]], [mixed[2]] * 6):
        found = serve(image_bytes=tf.constant(rows))
        assert set(found) == OF_BYTES
        for i, row in enumerate(rows):
            told = {name: value[i].numpy() for name, value in found.items()}
            if row in good:
                for name, value in expected.items():
                    np.testing.assert_array_equal(told[name], value[i])
                continue
            assert told["status"] == dict(bad.values())[row]
            assert told["cluster"] == -1
            for name in ("features", "projections", "cluster_score"):
                assert np.isnan(told[name]).all()


def test_variables_are_those_of_the_backbone(exported):
    method, path = exported
    loaded = tf.saved_model.load(str(path))
    backbone = method.backbone
    assert len(loaded.variables) == len(backbone.variables)
    assert len(loaded.trainable_variables) == len(backbone.trainable_variables)
    for ours, theirs in zip(
        loaded.trainable_variables, backbone.trainable_variables, strict=True
    ):
        assert ours.trainable
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    penalty = sum(float(loss()) for loss in loaded.regularization_losses)
    assert penalty == pytest.approx(float(sum(backbone.losses)), rel=1e-5)


def test_training_call_uses_and_moves_batch_statistics(tmp_path):
    method = stand_in()
    path = saved_model.save(method, tmp_path, image_size=SIZE)
    loaded = tf.saved_model.load(str(path))
    images = tf.constant(some_images())
    expected = method.backbone(images, training=True)
    np.testing.assert_allclose(
        loaded(images, training=True), expected, atol=1e-5
    )
    for ours, theirs in zip(
        loaded.variables, method.backbone.variables, strict=True
    ):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)
    np.testing.assert_allclose(
        loaded(images), method.backbone(images, training=False), atol=1e-5
    )


def test_dropout_of_the_backbone_acts_in_training_only(tmp_path):
    method = stand_in(small_backbone(dropout=0.5))
    path = saved_model.save(method, tmp_path, image_size=SIZE)
    loaded = tf.saved_model.load(str(path))
    images = tf.constant(some_images())
    first, second = (loaded(images, training=True).numpy() for _ in range(2))
    assert np.abs(first - second).max() > 0.01
    np.testing.assert_array_equal(loaded(images), loaded(images))


def smooth_pixels(height, width):
    """Slopes, which JPEG keeps to a few levels."""
    down = np.linspace(20, 230, height)[:, None]
    across = np.linspace(200, 40, width)[None]
    layers_ = [down + 0 * across, across + 0 * down, (down + across) / 2]
    return np.uint8(np.stack(layers_, axis=-1))


def encoded_image(pixels, mode, kind, **options):
    """Bytes of an image file, and what Pillow reads from them as RGB."""
    image = Image.fromarray(pixels)
    if mode in ("RGBA", "LA"):
        image = image.convert(mode[:-1])
        alpha = np.full(pixels.shape[:2], 90, np.uint8)
        image.putalpha(Image.fromarray(alpha))
    elif mode == "P":
        image = image.quantize(32)
    else:
        image = image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    if kind == "BMP" and mode == "RGBA":
        image = image.convert("RGB")  # a BMP's fourth byte means nothing
    elif mode in ("RGBA", "LA"):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    elif kind != "PNG":
        image = Image.open(buffer)
    return buffer.getvalue(), np.asarray(image.convert("RGB"))


FILES = [
    ((20, 31), "RGB", "PNG", {}),
    ((25, 18), "L", "PNG", {}),
    ((40, 17), "RGBA", "PNG", {}),
    ((22, 22), "LA", "PNG", {}),
    ((19, 30), "P", "PNG", {}),
    ((16, 16), "1", "PNG", {}),
    ((48, 33), "RGB", "JPEG", {"quality": 95}),
    ((21, 64), "L", "JPEG", {"quality": 95}),
    ((30, 20), "RGB", "BMP", {}),
    ((17, 29), "L", "BMP", {}),
    ((23, 16), "RGBA", "BMP", {}),
    ((26, 35), "P", "GIF", {}),
    ((21, 27), "RGB", "WEBP", {"lossless": True}),
    ((18, 26), "RGBA", "WEBP", {"lossless": True}),
    ((5, 9), "RGB", "PNG", {}),
]


def test_one_batch_mixes_sizes_and_formats(exported):
    method, path = exported
    made = [
        encoded_image(smooth_pixels(*shape), mode, kind, **options)
        for shape, mode, kind, options in FILES
    ]
    encoded = tf.constant([data for data, _ in made])
    images = np.stack([centred(rgb, SIZE, SIZE) for _, rgb in made]) / 255.0
    decoded = saved_model.decode(encoded, SIZE, SIZE).images.numpy()
    for file, ours, theirs in zip(FILES, decoded, images, strict=True):
        # JPEG decoders may differ by a few levels, sums with white by one.
        levels = 4 if file[2] == "JPEG" else int(file[1][-1] == "A")
        np.testing.assert_allclose(
            ours, theirs, atol=(levels + 0.01) / 255, err_msg=str(file)
        )
    loaded = tf.saved_model.load(str(path))
    received = loaded.signatures["serving_default"](image_bytes=encoded)
    assert set(received) == OF_BYTES
    expected = expected_outputs(method, decoded)
    for name, value in expected.items():
        np.testing.assert_allclose(received[name], value, atol=1e-5)


def test_animation_is_served_by_its_first_frame(exported):
    _, path = exported
    frames = [
        Image.fromarray(np.full([20, 20, 3], level, np.uint8)).quantize(4)
        for level in (0, 80, 250)
    ]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    encoded = tf.constant([buffer.getvalue()])
    decoded = saved_model.decode(encoded, SIZE, SIZE).images
    np.testing.assert_array_equal(decoded, np.zeros([1, SIZE, SIZE, 3]))
    loaded = tf.saved_model.load(str(path))
    received = loaded.signatures["serving_default"](
        image_bytes=tf.constant([buffer.getvalue()])
    )
    np.testing.assert_allclose(
        received["features"], loaded(tf.zeros([1, SIZE, SIZE, 3])), atol=1e-5
    )


ANIMATED_WEBP = """
import io, sys
import numpy as np
import tensorflow as tf
from PIL import Image
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
rng = np.random.default_rng(0)
for mode in ("RGB", "RGBA"):
    for side in (9, 16, 61):
        frames = [
            Image.fromarray(rng.integers(0, 256, (side, side, len(mode)), "u1"))
            for _ in range(2)
        ]
        buffer = io.BytesIO()
        frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
        found = serve(image_bytes=tf.constant([buffer.getvalue()]))
        print("refused:", found["status"].numpy()[0].decode())
still = io.BytesIO()
frames[0].save(still, "WEBP")
print(sorted(serve(image_bytes=tf.constant([still.getvalue()]))))
"""


def test_animated_webp_counts_as_damaged_and_the_server_goes_on(exported):
    code = ANIMATED_WEBP.replace("sys.argv[1]", repr(str(exported[1])))
    *refused, last = run_in_subprocess(code).splitlines()
    assert refused == ["refused: damaged"] * 6
    assert last == str(sorted(OF_BYTES))


def test_bytes_are_resized_by_the_short_side_then_cropped(tmp_path):
    method = stand_in()
    path = saved_model.save(method, tmp_path, image_size=12, resize_size=16)
    encoded, rgb = encoded_image(smooth_pixels(32, 64), "RGB", "PNG")
    short = Image.fromarray(rgb).resize((32, 16), Image.Resampling.BILINEAR)
    crop = np.asarray(short)[2:14, 10:22]
    decoded = saved_model.decode(tf.constant([encoded]), 12, 16).images
    # Pillow rounds between its two passes.
    np.testing.assert_allclose(decoded[0] * 255, crop, atol=1.01)
    loaded = tf.saved_model.load(str(path))
    received = loaded.signatures["serving_default"](
        image_bytes=tf.constant([encoded])
    )
    np.testing.assert_allclose(
        received["features"],
        method.backbone(decoded, training=False),
        atol=1e-5,
    )
    card = json.loads((path / "model_card.json").read_text())
    assert card["preprocessing"]["resize_short_side"] == 16
    assert card["preprocessing"]["centre_crop"] == 12


def test_pyramid_gives_the_backbones_stages_by_stride(tmp_path):
    backbone = backbones.build("small", image_size=32)
    stages = backbones.pyramid(backbone)
    assert stages
    path = saved_model.save(stand_in(backbone), tmp_path, image_size=32)
    loaded = tf.saved_model.load(str(path))
    images = tf.constant(some_images(2, 32))
    received = loaded.signatures["pyramid"](images=images)
    expected = keras.Model(backbone.inputs, stages)(images, training=False)
    assert set(received) == set(stages)
    for name, value in expected.items():
        stride = 2 ** int(name[1:])
        assert received[name].shape[1:3] == [32 // stride, 32 // stride]
        np.testing.assert_allclose(received[name], value, atol=1e-5)


def test_card_says_what_one_needs_to_use_the_model(exported):
    _, path = exported
    card = json.loads((path / "model_card.json").read_text("utf-8"))
    assert card["method"] == "swav"
    assert card["num_images"] == 1797
    assert card["metrics"] == {"top1": 0.5}
    assert card["recipe"] is None
    assert card["note"] == "Grüße"
    assert card["outputs"]["features"] == [None, 10]
    assert card["outputs"]["status"] == [None]
    assert card["status"]["values"] == list(saved_model.STATUSES)
    assert card["preprocessing"]["max_pixels"] == 1 << 26
    assert card["versions"]["tensorflow"] == tf.__version__
    assert all(words.endswith("B >= 1") for words in card["inputs"].values())
    assert card["versions"]["keras"] == keras.__version__


def test_versions_count_up_and_are_never_overwritten(tmp_path):
    def fill(folder):
        (folder / "saved_model.pb").write_bytes(b"x")

    (tmp_path / "notes").mkdir()
    (tmp_path / "7").mkdir()
    first = versions.write_next(tmp_path, fill)
    second = versions.write_next(tmp_path, fill)
    assert (first.name, second.name) == ("8", "9")
    assert not any((tmp_path / "7").iterdir())
    assert saved_model.newest_version(tmp_path) == second
    assert saved_model.newest_version(first) == first


def test_nothing_is_visible_before_it_is_complete(tmp_path):
    def fill(folder):
        (folder / "part").write_text("half")
        seen = [entry.name for entry in tmp_path.iterdir()]
        assert all(name.startswith(".") for name in seen)

    versions.write_next(tmp_path, fill)
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]


def test_number_taken_in_between_is_left_alone(tmp_path):
    def fill(folder):
        (folder / "mine").write_text("mine")
        # Another export finishes while this one writes: after the numbers
        # were read, as far as `rename` can tell.
        rival = tmp_path / "1"
        rival.mkdir()
        (rival / "theirs").write_text("theirs")

    counted = versions._versions
    try:
        versions._versions = lambda path: []
        mine = versions.write_next(tmp_path, fill)
    finally:
        versions._versions = counted
    assert mine.name == "2"
    assert (tmp_path / "1" / "theirs").read_text() == "theirs"


@pytest.mark.parametrize(
    ("error", "told"),
    [(OSError, folders.DiskError), (KeyboardInterrupt, KeyboardInterrupt)],
)
def test_failed_write_leaves_nothing(tmp_path, error, told):
    def fill(folder):
        (folder / "part").write_text("half")
        raise error

    with pytest.raises(told):
        versions.write_next(tmp_path, fill)
    assert not any(tmp_path.iterdir())


def test_missing_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no SavedModel in .*nowhere"):
        saved_model.newest_version(tmp_path / "nowhere")


class CountsItsTraces(layers.Layer):
    """Says something else each time that it is traced."""

    traces = 0

    def call(self, x):
        type(self).traces += 1
        return x * float(self.traces)


def test_model_that_changes_on_reload_is_not_published(tmp_path):
    images = keras.Input([None, None, 3])
    x = layers.GlobalAveragePooling2D()(CountsItsTraces()(images))
    method = stand_in(keras.Model(images, x))
    with pytest.raises(RuntimeError, match="Nothing was written"):
        saved_model.save(method, tmp_path, image_size=SIZE)
    assert not any(tmp_path.iterdir())


class Halves(layers.Layer):
    """A user's layer that Keras cannot make again."""

    def __init__(self, half):
        super().__init__()
        self.half = half

    def call(self, x):
        return self.half(x)


def test_layer_that_keras_cannot_write_down_is_named(tmp_path):
    images = keras.Input([None, None, 3])
    x = layers.GlobalAveragePooling2D()(Halves(lambda x: x / 2)(images))
    method = stand_in(keras.Model(images, x, name="of_a_user"))
    with pytest.raises(ValueError, match="get_config.*of_a_user"):
        saved_model.save(method, tmp_path, image_size=SIZE)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({}, "image_size=None"),
        ({"image_size": 20, "resize_size": 16}, "image_size=20, resize_size=1"),
        ({"image_size": -4}, "image_size=-4"),
        ({"image_size": 16, "max_pixels": 0}, "max_pixels=0"),
    ],
)
def test_impossible_sizes_are_refused_with_their_numbers(
    tmp_path, sizes, message
):
    with pytest.raises(ValueError, match=message):
        saved_model.save(stand_in(), tmp_path, **sizes)
    assert not any(tmp_path.iterdir())


def test_size_that_the_backbone_is_too_deep_for_is_refused(tmp_path):
    images = keras.Input([None, None, 3])
    x = keras.layers.Conv2D(3, 5, strides=2)(images)
    x = keras.layers.GlobalAveragePooling2D()(x)
    method = stand_in(keras.Model(images, x, name="deep"))
    with pytest.raises(ValueError, match="deep is too .*image_size=4. Give 5"):
        saved_model.save(method, tmp_path, image_size=4)
    assert not any(tmp_path.iterdir())


def test_size_comes_from_the_views_a_method_was_trained_on(tmp_path):
    method = stand_in()
    method.views = types.SimpleNamespace(image_size=24)
    path = saved_model.save(method, tmp_path)
    card = json.loads((path / "model_card.json").read_text())
    assert card["preprocessing"]["centre_crop"] == 24


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", slow("mixed_float16")])
def test_half_precision_backbone_serves_float32(tmp_path, dtype):
    method = stand_in(small_backbone(dtype=dtype))
    path = saved_model.save(method, tmp_path, image_size=SIZE)
    images = tf.constant(some_images())
    loaded = tf.saved_model.load(str(path))
    received = loaded.signatures["images"](images=images)
    assert received["features"].dtype == tf.float32
    # Eager and graph execution round half precision at other places.
    np.testing.assert_allclose(
        loaded(images), method.backbone(images), rtol=0.05, atol=0.02
    )


MIRRORED = """
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from tests.saved_model import test_saved_model as t
from tfclust import saved_model

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    method = t.stand_in(t.small_backbone(synchronized=True))
path = saved_model.save(method, {folder!r}, image_size=t.SIZE)
images = tf.constant(t.some_images())
loaded = tf.saved_model.load(str(path))
expected = t.expected_outputs(method, images)
received = loaded.signatures["images"](images=images)
for name in t.OUTPUTS:
    np.testing.assert_allclose(received[name], expected[name], atol=1e-5)
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(loaded(images, training=True))
assert all(
    g is not None for g in tape.gradient(loss, loaded.trainable_variables))
assert not any(layer.synchronized for layer in keras.models.load_model(
    path / saved_model.BACKBONE_FILE).layers if "batch" in layer.name)
print("saved")
"""


def test_method_of_two_replicas_is_saved_as_one(tmp_path):
    code = MIRRORED.format(folder=str(tmp_path))
    assert run_in_subprocess(code).endswith("saved\n")


def test_assign_takes_the_first_of_equal_scores():
    head = Clusterer(np.ones([2, 3], np.float32), unit_rows=False)
    cluster, score = clusterers.assign(head, tf.constant([[1.0, 2.0]]))
    assert cluster.dtype == tf.int64
    assert (int(cluster[0]), float(score[0])) == (0, 3.0)
