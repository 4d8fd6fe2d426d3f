"""Features, the table of several backbones, and the command itself."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.support import processes
from tfclust import data, evaluate, evaluation, export
from tfclust.cli import flags
from tfclust.evaluation import EvaluationConfig
from tfclust.evaluation.protocols import linear
from tfclust.runs import exporting
from tfclust.training import measuring, pretraining

FAST = {"cluster_restarts": 2}


def coloured_source(num_images, *, seed=0, with_labels=True, size=8):
    """Noisy images of three colours."""
    random = np.random.default_rng(seed)
    labels = np.arange(num_images) % 3
    images = random.integers(0, 120, size=[num_images, size, size, 3])
    images[np.arange(num_images), :, :, labels] += 100
    return data.ArraySource(
        images.astype(np.uint8),
        labels if with_labels else None,
        uri=f"array:{seed}",
    )


def mean_colour(images):
    """A backbone whose features tell the colours apart."""
    return tf.reduce_mean(images, axis=[1, 2])


def one_number(images):
    """A backbone whose features tell nothing."""
    return 1.0 + 0.0 * mean_colour(images)


def test_features_come_in_index_order_whatever_the_batch():
    source = coloured_source(23)

    features = evaluation.extract_features(
        mean_colour, source, image_size=8, batch_size=5
    )

    images = source.stored().numpy()[:, 1:-1, 1:-1]
    expected = images.mean(axis=(1, 2)) / 255
    assert features.dtype == np.float32
    # Float32 sums of 64 pixels.
    np.testing.assert_allclose(features, expected, atol=1e-6)


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="for 4 of 4 images of array:0"):
        evaluation.extract_features(
            lambda images: mean_colour(images) / 0.0,
            coloured_source(4),
            image_size=8,
        )


def test_feature_maps_are_refused():
    with pytest.raises(ValueError, match=re.escape("backbones.adapt")):
        evaluation.extract_features(
            lambda images: images, coloured_source(4), image_size=8
        )


@pytest.mark.parametrize(("size", "width"), [(24, 24), (32, 32), (64, 32)])
def test_pixels_are_a_row_of_at_most_32_by_32(size, width):
    images = np.random.default_rng(0).random([2, size, size, 3])
    rows = evaluation.pixels(tf.constant(images, tf.float32)).numpy()

    assert rows.shape == (2, 3 * width**2)
    assert (np.linalg.norm(rows, axis=1) <= 1).all()
    if size == width:
        np.testing.assert_allclose(
            rows * width * 3**0.5, images.reshape(2, -1), rtol=1e-5
        )


@pytest.mark.parametrize("linear_protocol", ["lbfgs", "sgd"])
def test_every_backbone_gets_every_figure(linear_protocol):
    config = EvaluationConfig(
        linear_protocol=linear_protocol,
        linear_epochs=3,
        linear_rate=30.0,
        linear_batch_size=20,
        **FAST,
    )
    lines = []

    results = evaluation.evaluate(
        {"trained": mean_colour, "untrained": one_number},
        coloured_source(60),
        coloured_source(30, seed=1),
        config,
        image_size=8,
        say=lines.append,
    )

    assert list(results) == ["trained", "untrained"]
    for figures in results.values():
        assert list(figures) == ["knn", "linear", "clusters"]
        assert {"nmi", "nmi_arithmetic", "ami", "ari", "accuracy"} < set(
            figures["clusters"]
        )
    trained = results["trained"]
    assert trained["knn"]["top1"] == 1.0
    assert trained["linear"]["top1"] > 0.9
    assert trained["clusters"]["nmi"] > 0.99
    assert results["untrained"]["linear"]["top1"] < 0.5
    assert len(lines) == 6 and lines[0] == "trained: knn top1 1.000"
    assert json.loads(json.dumps(results)) == results


def test_auto_takes_sgd_from_fifty_thousand_images_on(monkeypatch):
    monkeypatch.setattr(linear, "LARGE_SET", 60)
    config = EvaluationConfig(protocols=("linear",), linear_epochs=1)
    test = coloured_source(9, seed=1)
    for num_images, kind in ((59, "lbfgs"), (60, "sgd")):
        results = evaluation.evaluate(
            {"trained": mean_colour},
            coloured_source(num_images),
            test,
            config,
            image_size=8,
        )
        assert results["trained"]["linear"]["protocol"] == kind


def never_called(images):
    raise AssertionError("a forward pass before the checks")


@pytest.mark.parametrize(
    ("protocols", "train", "test", "words"),
    [
        (("knn",), None, 30, "protocol knn needs train_data"),
        (("linear",), None, 30, "protocol linear needs train_data"),
        (("clusters",), None, None, "protocol clusters needs test_data"),
        (("clusters",), None, -30, "protocol clusters compares with labels"),
        (("linear",), -60, 30, "train_data has none. Received: train_data="),
        (("knn",), 30, 30, "other images than train_data"),
        (("knn",), 19, 30, "num_neighbors=20, 19 images"),
    ],
)
def test_protocols_that_cannot_be_served_are_refused_by_name(
    protocols, train, test, words
):
    def source(count):
        if count is None:
            return None
        count, with_labels = abs(count), count > 0
        return coloured_source(count, seed=count, with_labels=with_labels)

    with pytest.raises(ValueError, match=words):
        evaluation.evaluate(
            {"trained": never_called},
            source(train),
            source(test),
            EvaluationConfig(protocols=protocols),
            image_size=8,
        )


def test_clusters_need_no_training_images():
    results = evaluation.evaluate(
        {"trained": mean_colour},
        None,
        coloured_source(30),
        EvaluationConfig(protocols=("clusters",), **FAST),
        image_size=8,
    )
    assert results["trained"]["clusters"]["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"protocols": ()}, "at least one of"),
        ({"protocols": ("knn", "knn")}, "names each once"),
        ({"protocols": ("svm",)}, "one of knn, linear, clusters"),
        ({"baselines": ("zero",)}, "one of untrained, pixels"),
        ({"knn_temperature": 0.0}, "knn_temperature must be at least"),
    ],
)
def test_impossible_knobs_are_named(knobs, words):
    with pytest.raises(ValueError, match=words):
        EvaluationConfig(**knobs)


def test_table_has_a_column_a_backbone_and_a_line_a_figure():
    clusters = {
        "nmi": 0.7649,
        "nmi_arithmetic": 0.76,
        "ami": 0.75,
        "ari": 0.69,
        "accuracy": 0.8181,
        "num_clusters": 10,
    }
    results = {
        "trained": {
            "knn": {"top1": 0.97, "num_neighbors": 20},
            "linear": {"top1": 0.987, "protocol": "lbfgs"},
            "clusters": clusters,
        },
        "pixels": {
            "knn": {"top1": 1.0, "num_neighbors": 20},
            "linear": {"top1": 0.9, "protocol": "lbfgs"},
            "clusters": {**clusters, "nmi": 0.5},
        },
    }
    assert evaluation.format_table(results).splitlines() == [
        "                                trained  pixels",
        "-----------------------------------------------",
        "weighted 20-NN, top-1 %            97.0   100.0",
        "linear probe (L-BFGS), top-1 %     98.7    90.0",
        "10-means, NMI (geometric)         0.765   0.500",
        "10-means, NMI (arithmetic)        0.760   0.760",
        "10-means, AMI                     0.750   0.750",
        "10-means, ARI                     0.690   0.690",
        "10-means, Hungarian accuracy %     81.8    81.8",
    ]


def test_json_is_replaced_at_once_or_not_at_all(tmp_path):
    path = tmp_path / "new folder" / "evaluation.json"
    measuring.write_json(path, {"trained": {}})

    with pytest.raises(TypeError):
        measuring.write_json(path, {"trained": object()})

    assert json.loads(path.read_text()) == {"trained": {}}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of two steps on 200 digits."""
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    recipe = pretraining.make_recipe(
        method="swav",
        data="digits:?split=train",
        eval_data="digits:?split=test",
        max_images=200,
        workdir=str(workdir),
        backbone="small",
        image_size=12,
        batch_size=32,
        num_clusters=8,
        projection_width=8,
        hidden_width=16,
        steps=2,
        view_scales=((0.4, 1.0),),
        knn_images=0,
    )
    pretraining.pretrain(recipe, say=lambda sentence: None)
    return workdir


@pytest.fixture(scope="module")
def version(workdir):
    """The run's SavedModel."""
    return exporting.export(export.ExportConfig(str(workdir)))


def status_of(*argv):
    """The command's exit code, run in this process."""
    flags.define(evaluate.EvaluateConfig, EvaluationConfig)
    return flags.status(evaluate.main, ["evaluate", *map(str, argv)])


def test_command_measures_a_run_and_its_saved_model_alike(
    workdir, version, tmp_path, capsys
):
    other = tmp_path / "other.json"

    fast = "--cluster_restarts=2"
    assert status_of(f"--workdir={workdir}", fast) == 0
    printed = capsys.readouterr().out
    status = status_of(
        f"--saved_model={version.parent}", f"--output={other}", fast
    )
    assert status == 0

    of_run = json.loads((workdir / "evaluation.json").read_text())
    of_export = json.loads(other.read_text())
    assert list(of_run) == ["trained", "untrained", "pixels"]
    assert of_run["trained"] != of_run["untrained"]
    assert of_run["untrained"] == of_export["untrained"]
    assert of_run["pixels"] == of_export["pixels"]
    # Features agree to 1e-5, which may move one of 364 test images.
    for protocol, figures in of_run["trained"].items():
        for name, value in figures.items():
            other_value = of_export["trained"][protocol][name]
            if isinstance(value, float):
                assert value == pytest.approx(other_value, abs=1 / 300)
            else:
                assert value == other_value
    assert "weighted 20-NN, top-1 %" in printed
    assert f"Written: {workdir / 'evaluation.json'}" in printed


def test_run_s_own_images_are_the_default_and_its_number_of_them(workdir):
    config = EvaluationConfig()
    recipe = pretraining.load_run(workdir).recipe

    def sizes(**knobs):
        command = evaluate.EvaluateConfig(workdir=str(workdir), **knobs)
        train, test = measuring.open_labelled(command, config, recipe)
        return train.num_images, test.num_images

    assert sizes() == (200, 364)
    assert sizes(max_images=50) == (50, 364)
    assert sizes(train_data="digits:?split=train") == (200, 364)
    assert sizes(train_data="digits:?split=test", test_data="digits:") == (
        364,
        1433,
    )


@pytest.mark.parametrize(
    ("knobs", "shared"),
    [
        ({"test_data": "digits:?split=all"}, "200 of 1797"),
        (
            {"train_data": "digits:", "test_data": "digits:?split=all"},
            "1433 of 1797",
        ),
        (
            {"train_data": "digits:?split=all", "test_data": "digits:"},
            "1433 of 1433",
        ),
    ],
)
def test_images_on_both_sides_are_refused_with_their_number(
    workdir, knobs, shared
):
    command = evaluate.EvaluateConfig(workdir=str(workdir), **knobs)
    recipe = pretraining.load_run(workdir).recipe
    with pytest.raises(ValueError, match=f"{shared} images are in train_data"):
        measuring.open_labelled(command, EvaluationConfig(), recipe)


def test_every_fifth_image_is_held_out_where_no_test_is_given(workdir):
    recipe = pretraining.load_run(workdir).recipe
    run = dataclasses.replace(recipe.run, eval_data="")
    command = evaluate.EvaluateConfig(workdir=str(workdir))
    lines = []
    for protocols in (("knn", "linear", "clusters"), ("clusters",)):
        train, test = measuring.open_labelled(
            command,
            EvaluationConfig(protocols=protocols),
            recipe._replace(run=run),
            lines.append,
        )
        assert (train.num_images, test.num_images) == (160, 40)
        assert test.num_shared(train) == 0
    whole = data.open_source(run.data, max_images=200)
    np.testing.assert_array_equal(test.labels, whole.labels[::5])
    assert lines[0].endswith("held out to test on, 40 of 200.")


def test_clusters_alone_open_no_training_images(workdir):
    command = evaluate.EvaluateConfig(
        workdir=str(workdir), train_data="folder:/nowhere"
    )
    config = EvaluationConfig(protocols=("clusters",))
    recipe = pretraining.load_run(workdir).recipe
    train, test = measuring.open_labelled(command, config, recipe)
    assert train is None and test.num_images == 364


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "give either workdir or saved_model"),
        (("--workdir=a", "--saved_model=b"), "workdir=a, saved_model=b"),
        (("--workdir=RUN", "--output=RUN"), "output must be a file"),
        (("--workdir=RUN/none",), "holds no run"),
        (("--workdir=RUN", "--output=/proc/a/b.json"), "output=/proc/a/b.json"),
        (("--saved_model=RUN",), "no SavedModel"),
        (("--workdir=RUN", "--test_data=digits:?split=x"), "split=x"),
        (("--workdir=RUN", "--test_data=folder:RUN/flat"), "folder:RUN/flat"),
        (("--workdir=RUN", "--protocols=svm"), "protocols=svm"),
        (
            ("--workdir=RUN", "--test_data=digits:?split=train"),
            "num_neighbors|other images",
        ),
    ],
)
def test_bad_input_ends_with_2_and_one_line(workdir, argv, words, capsys):
    argv = [word.replace("RUN", str(workdir)) for word in argv]
    words = words.replace("RUN", re.escape(str(workdir)))
    (workdir / "flat").mkdir(exist_ok=True)
    image = tf.io.encode_png(np.zeros([12, 12, 3], np.uint8)).numpy()
    for name in ("a.png", "b.png"):
        (workdir / "flat" / name).write_bytes(image)

    status = status_of(*argv)

    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert re.search(words, captured.err)


def test_saved_model_without_a_recipe_has_no_untrained_twin(
    version, tmp_path, capsys
):
    bare = tmp_path / "bare"
    shutil.copytree(version, bare)
    card = json.loads((bare / "model_card.json").read_text())
    (bare / "model_card.json").write_text(json.dumps({**card, "recipe": None}))

    status = status_of(f"--saved_model={bare}")

    assert status == 2
    assert "--baselines=pixels" in capsys.readouterr().err


def test_command_refuses_a_missing_run_in_a_process_of_its_own(tmp_path):
    arguments = ["-m", "tfclust.evaluate", f"--workdir={tmp_path}"]
    done = processes.run(arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("evaluate: ")
    assert "Traceback" not in done.stdout + done.stderr
    assert "holds no run" in done.stderr
