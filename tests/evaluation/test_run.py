"""Features, and the table of several backbones."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf

from tfclust import data, evaluation
from tfclust.evaluation import EvaluationConfig
from tfclust.evaluation.protocols import linear

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


def test_a_pass_that_comes_again_traces_once_and_reads_once(tmp_path):
    for i, image in enumerate(coloured_source(6).stored()[:, 1:-1, 1:-1]):
        tf.io.write_file(f"{tmp_path}/{i}.png", tf.io.encode_png(image))
    source = data.open_source(f"folder:{tmp_path}")
    scale, traced = tf.Variable(1.0), []

    def backbone(images):
        traced.append(images.shape)
        return scale * mean_colour(images)

    features = evaluation.FeaturePass(
        backbone, source, image_size=8, batch_size=4, keep=True
    )
    first = features.features()
    for path in tmp_path.iterdir():
        path.unlink()
    scale.assign(2.0)  # a step of training between
    np.testing.assert_array_equal(features.features(), 2 * first)
    assert len(traced) == 1 and not source.failures


def test_passes_over_few_images_warn_of_no_retracing(caplog, monkeypatch):
    monkeypatch.setattr(tf.get_logger(), "propagate", True)
    for seed in range(8):
        source = coloured_source(4, seed=seed)
        evaluation.extract_features(mean_colour, source, image_size=8)
    assert "retracing" not in caplog.text


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


def test_colours_are_the_same_wherever_they_lie():
    images = np.random.default_rng(0).random([1, 8, 8, 3])
    moved = images.reshape(1, 4, 16, 3)[:, ::-1].transpose(0, 2, 1, 3)
    rows = [
        evaluation.colours(tf.constant(of, tf.float32)).numpy()
        for of in (images, moved)
    ]
    np.testing.assert_array_equal(*rows)
    assert rows[0].shape == (1, 216)
    np.testing.assert_allclose(np.linalg.norm(rows[0]), 1, rtol=1e-6)


def test_colours_are_shares_of_six_levels_a_channel():
    images = np.zeros([1, 2, 2, 3], np.float32)
    images[0, 0] = 1, 0.5, 0  # levels 5, 3, 0: bin (5 * 6 + 3) * 6
    (row,) = evaluation.colours(tf.constant(images)).numpy()
    assert np.flatnonzero(row).tolist() == [0, 198]
    np.testing.assert_allclose(row[[0, 198]] ** 2, 0.5, rtol=1e-6)


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
        assert figures["knn"]["chance"] == pytest.approx(1 / 3)
        assert figures["linear"]["chance"] == pytest.approx(1 / 3)
        has_best = "best_epoch_top1" in figures["linear"]
        assert has_best == (linear_protocol == "sgd")
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


def test_auto_takes_sgd_for_large_sets_and_not_for_cifar_and_mnist(monkeypatch):
    assert linear.LARGE_SET > 60_000
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
        ((), None, None, "protocol knn needs test_data"),
        (("linear",), -60, 30, "train_data has none. Received: train_data="),
        (("knn",), 30, 30, "other images than train_data"),
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


def test_all_images_vote_where_there_are_fewer_than_twenty():
    def measured(**knobs):
        results = evaluation.evaluate(
            {"trained": mean_colour},
            coloured_source(12),
            coloured_source(30, seed=1),
            EvaluationConfig(protocols=("knn",), **knobs),
            image_size=8,
        )
        return results["trained"]["knn"]

    assert measured() == measured(num_neighbors=(12,))
    with pytest.raises(ValueError, match="num_neighbors=20, 12 images"):
        measured(num_neighbors=(20,))


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
        ({"protocols": ("knn", "knn")}, "must name each only once"),
        ({"protocols": ("nn",)}, "one of knn, linear, layers, clusters"),
        ({"baselines": ("zero",)}, "one of untrained, pixels, colours"),
        ({"knn_temperature": (0.0,)}, "knn_temperature must be at least"),
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
        "nmi_chance": 0.0551,
        "nmi_arithmetic_chance": 0.055,
        "accuracy_chance": 0.1666,
        "purity": 0.8244,
        "purity_chance": 0.2,
    }
    results = {
        "trained": {
            "knn": {"top1": 0.97, "num_neighbors": 20, "chance": 0.1},
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
        "                                trained  pixels  chance",
        "-------------------------------------------------------",
        "weighted 20-NN, top-1 %            97.0   100.0    10.0",
        # Figures of an older version have no chance level.
        "linear probe (L-BFGS), top-1 %     98.7    90.0       -",
        "10-means, AMI                     0.750   0.750   0.000",
        "10-means, ARI                     0.690   0.690   0.000",
        "10-means, NMI (geometric)         0.765   0.500   0.055",
        "10-means, NMI (arithmetic)        0.760   0.760   0.055",
        "10-means, purity %                 82.4    82.4    20.0",
        "10-means, Hungarian accuracy %     81.8    81.8    16.7",
    ]
