"""Figures of commands against the same by hand, and what is refused."""

import json
import re

import keras
import numpy as np
import pytest

from export.retrieval import evaluate, model
from tests.retrieval.test_landmarks import write_query
from tests.support import image_files
from tests.support.exported import small_backbone
from tests.support.marks import slow
from tests.support.processes import ROOT
from tests.support.retrieval import refusal, status, write_images
from tfclust import saved_model
from tfclust.cli import flags
from tfclust.retrieval import maps, pooling, ranking

SIDE = 48


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    for number, name in enumerate("abc"):
        write_images(folder / name, 4, seed=number)
    return folder


@pytest.fixture(scope="module")
def landmarks(tmp_path_factory):
    """Six photos of other sizes and two queries; one name is not there."""
    folder = tmp_path_factory.mktemp("landmarks")
    random = np.random.default_rng(8)
    for i in range(6):
        image = random.integers(0, 256, (30 + 5 * i, 60 - 4 * i, 3), np.uint8)
        image_files.write(
            folder / "images" / f"part{i % 2}", f"p{i}.png", image
        )
    truth = folder / "truth"
    write_query(truth, "one", "p0 5 4 40 25", ["p0", "p3"], ["gone"], ["p1"])
    write_query(truth, "two", "oxc1_p5 0 0 20 30", ["p5"], ["p2", "p4"])
    return folder


@pytest.mark.parametrize("baselines", ["", slow("untrained,pixels")])
def test_class_figures_are_those_of_the_models_features(
    exported, classes, tmp_path, capsys, baselines
):
    file = tmp_path / "figures.json"
    given = {"saved_model": exported, "images": classes, "output": file}
    assert status("evaluate", baselines=baselines, **given) == 0
    figures = json.loads(file.read_text())
    networks = ["trained", *filter(None, baselines.split(","))]
    assert list(figures) == networks
    import tensorflow as tf

    serve = tf.saved_model.load(str(exported)).signatures["serving_default"]
    paths = sorted(classes.rglob("*.png"))
    files = tf.constant([path.read_bytes() for path in paths])
    features = serve(image_bytes=files)["features"].numpy()
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    labels = np.array(["abc".index(path.parent.name) for path in paths])
    expected = ranking.class_figures(rows, labels)
    assert figures["trained"] == pytest.approx(expected)
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == networks
    assert table[1].split()[2] == f"{expected['mAP']:.2f}"


@pytest.mark.slow
def test_instance_figures_equal_the_same_by_hand(exported, landmarks, tmp_path):
    file = tmp_path / "figures.json"
    given = {
        "saved_model": exported,
        "images": landmarks / "images",
        "ground_truth": landmarks / "truth",
        "longer_side": SIDE,
        "output": file,
        "baselines": "",
    }
    assert status("evaluate", **given) == 0
    figures = json.loads(file.read_text())["trained"]
    rows = [descriptor(exported, landmarks, i) for i in range(6)]
    first = descriptor(exported, landmarks, 0, (5, 4, 40, 25))
    second = descriptor(exported, landmarks, 5, (0, 0, 20, 30))
    aps = [
        # "gone" is left out, as files that are damaged are.
        ap(np.stack(rows) @ first, {0, 3}, {1}),
        ap(np.stack(rows) @ second, {5, 2, 4}, set()),
    ]
    assert figures["mAP"] == pytest.approx(100 * np.mean(aps))


def descriptor(exported, landmarks, number, box=None):
    """R-MAC of a photo by Keras alone."""
    import tensorflow as tf

    (path,) = (landmarks / "images").rglob(f"p{number}.png")
    image = tf.io.decode_png(path.read_bytes(), channels=3)
    height, width = image.shape[:2]
    ratio = SIDE / max(height, width)
    size = [round(height * ratio), round(width * ratio)]
    image = tf.image.resize(image, size, antialias=True) / 255
    if box is not None:
        left, top, right, bottom = (round(x * ratio) for x in box)
        image = image[top:bottom, left:right]
    backbone = keras.models.load_model(exported / saved_model.BACKBONE_FILE)
    last = keras.Model(backbone.inputs, backbone.layers[-2].output)
    return pooling.descriptor(pooling.rmac(last(image[None])[0].numpy()))


def ap(scores, positives, junk):
    ranked = [i for i in np.argsort(-scores, kind="stable") if i not in junk]
    area, old_precision, found = 0, 1, 0
    for seen, image in enumerate(ranked, 1):
        rise = image in positives
        found += rise
        area += rise * (old_precision + found / seen) / 2
        old_precision = found / seen
    return area / len(positives)


@pytest.mark.slow
def test_revisited_protocols_have_their_own_columns(
    exported, classes, landmarks, tmp_path, capsys
):
    truth = tmp_path / "gnd.json"
    names = [f"p{i}" for i in range(1, 6)]
    (query,) = [{"bbx": [0, 0, 30, 20], "easy": [], "hard": [1], "junk": [0]}]
    truth.write_text(
        json.dumps({"imlist": names, "qimlist": ["p0"], "gnd": [query]})
    )
    given = {
        "saved_model": exported,
        "images": landmarks / "images",
        "ground_truth": truth,
        "pooling": "gem",
        "longer_side": SIDE,
        "whiten_images": classes,
        "whiten_width": 3,
        "baselines": "pixels",
    }
    assert status("evaluate", **given) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    names = {" ".join(words[:-3]) for words in lines}
    # No query has an easy image, so that Easy has no figure.
    assert names == {
        f"{figure} {protocol}"
        for figure in ("mAP", "mP@1", "mP@5", "mP@10")
        for protocol in ("Medium", "Hard")
    }


def test_maps_of_a_network_for_one_size_are_of_any_size(tmp_path):
    images = keras.Input([16, 16, 3])
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv")(images)
    x = keras.layers.MaxPooling2D(2, name="pool")(x)
    x = keras.layers.Flatten()(x)
    backbone = keras.Model(images, keras.layers.Dense(5)(x))
    to_map, name = maps.map_function(backbone)
    assert name == "pool"
    image = np.random.default_rng(0).random((12, 30, 3), np.float32)
    kernel, bias = backbone.get_layer("conv").get_weights()
    padded = np.pad(image, [(1, 1), (1, 1), (0, 0)])
    conv = np.array(
        [
            [
                np.einsum("ijc,ijcd->d", padded[y : y + 3, x : x + 3], kernel)
                for x in range(30)
            ]
            for y in range(12)
        ]
    )
    conv = (conv + bias).reshape(6, 2, 15, 2, 4).max(axis=(1, 3))
    np.testing.assert_allclose(to_map(image), conv, atol=1e-5)
    with pytest.raises(ValueError, match="layer must be one .*conv, pool"):
        maps.map_function(backbone, "fc6")


def test_untrained_network_has_other_weights_and_the_same_layers(exported):
    trained = model.load_backbone(exported)
    untrained = model.load_backbone(exported, untrained=True, seed=3)
    again = model.load_backbone(exported, untrained=True, seed=3)
    kernels = [m.layers[2].get_weights()[0] for m in (trained, untrained)]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.01
    for one, two in zip(untrained.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, two)
    assert len(small_backbone().weights) == len(untrained.weights)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"images": "flat"}, "images must have labels"),
        ({"pooling": "max"}, "pooling must be one of"),
        ({"layer": "pool"}, "layer is for rmac, gem and spoc"),
        ({"ground_truth": "nowhere"}, "Found nothing at nowhere"),
        ({"pooling": "rmac", "layer": "fc6"}, "layer must be one whose output"),
        ({"saved_model": "nowhere"}, "no SavedModel in nowhere"),
        ({"baselines": "chance"}, "baselines must be one of"),
        ({"output": "/"}, "output must be a file"),
        ({"output": "/proc/x/f.json"}, "output must be in a folder"),
    ],
)
def test_bad_input_is_one_line(
    exported, classes, landmarks, capfd, given, words
):
    if given.get("images") == "flat":
        given = {"images": classes / "a"}
    given = {"saved_model": exported, "images": classes, **given}
    assert words in refusal(capfd, "evaluate", **given)


def test_ground_truth_of_other_images_is_refused(
    exported, landmarks, tmp_path, capfd
):
    given = {"saved_model": exported, "images": landmarks / "images"}
    write_query(tmp_path / "other", "x", "elsewhere 0 0 9 9", ["p1"])
    line = refusal(capfd, "evaluate", ground_truth=tmp_path / "other", **given)
    assert "names the query elsewhere" in line
    write_query(tmp_path / "box", "x", "p0 70 0 90 9", ["p1"])
    line = refusal(capfd, "evaluate", ground_truth=tmp_path / "box", **given)
    assert "must be left, top, right, bottom within 60 x 30" in line


def test_whitening_is_not_learnt_from_what_is_searched(
    exported, landmarks, tmp_path, capfd
):
    write_query(tmp_path / "truth", "x", "p0 0 0 9 9", ["p1"])
    line = refusal(
        capfd,
        "evaluate",
        saved_model=exported,
        images=landmarks / "images",
        ground_truth=tmp_path / "truth",
        whiten_images=landmarks / "images",
    )
    assert "whiten_images must hold other images than those that" in line


RECIPES = sorted((ROOT / "export/retrieval/configs").glob("*.flags"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_recipes_of_deepclusters_table_5_are_read(file):
    (command,) = re.findall(
        r"^# Command: python -m (.*)", file.read_text(), re.M
    )
    module, *words = command.split()
    assert module == "export.retrieval.evaluate"
    assert words[0] == f"--flagfile={file.relative_to(ROOT)}"
    flags.define(evaluate.EvaluateConfig)
    flags.parse(["evaluate.py", f"--flagfile={file}", *words[1:]])
    config = flags.read(evaluate.EvaluateConfig)
    # By the papers' rule whitening is learnt on the other set.
    assert config.whiten_images != config.images
    assert (config.resolved_pooling, config.longer_side) == ("rmac", 1024)


@pytest.mark.slow
def test_table_5s_layer_is_the_last_map_of_vgg16():
    from tfclust.backbones.vgg import vgg16_bn

    backbone = vgg16_bn(image_size=32, sobel=True)
    to_map, name = maps.map_function(backbone)
    assert name == "stage4_pool"
    image = np.random.default_rng(0).random((32, 32, 3), np.float32)
    pool = backbone.get_layer("stage4_pool").output
    model = keras.Model(backbone.inputs[0], pool)
    expected = model(image[None], training=False)[0]
    np.testing.assert_allclose(to_map(image), expected, atol=1e-5)
    assert to_map(np.zeros([96, 160, 3], np.float32)).shape == (3, 5, 512)
