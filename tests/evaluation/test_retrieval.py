"""The protocol retrieval: the rules of `tfclust.retrieval` on a run."""

import keras
import numpy as np
import pytest

from tests.evaluation.test_classes import source as noise
from tests.support import image_files, instance_set
from tfclust import data, evaluation
from tfclust.evaluation import EvaluationConfig
from tfclust.retrieval import ranking


def first_pixel(images):
    return images[:, 0, 0]


def measured(network, test, **knobs):
    found = evaluation.evaluate(
        {"trained": network},
        None,
        test,
        EvaluationConfig(protocols=("retrieval",), **knobs),
        image_size=8,
    )
    return found["trained"]["retrieval"], found


def test_by_class_it_is_the_rules_on_the_features():
    test = noise(np.arange(30) % 3)

    figures, results = measured(first_pixel, test)

    rows = test.stored().numpy()[:, 1, 1].astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = ranking.class_figures(rows, test.labels)
    for name in ("mAP", "mAP@R", "R@1", "R@5", "R@10"):
        assert figures[name] == pytest.approx(expected[name] / 100, abs=1e-4)
        assert 0 < figures[f"{name}_chance"] < 1
        low, high = figures[f"{name}_interval"]
        assert low <= figures[name] <= high and high - low < 0.5
    assert figures["queries"] == 30 and figures["alone"] == 0
    line = evaluation.format_table(results).splitlines()[2]
    assert line.startswith("retrieval, mAP %")


def test_one_image_a_class_finds_nothing_and_says_how_many_are_alone():
    figures, _ = measured(first_pixel, noise(np.arange(5)))
    assert figures["alone"] == 5 and figures["queries"] == 0
    assert "mAP_interval" not in figures


def test_images_without_labels_need_ground_truth():
    random = np.random.default_rng(0)
    bare = data.ArraySource(random.integers(0, 256, [4, 8, 8, 3], np.uint8))
    with pytest.raises(ValueError, match="--retrieval_ground_truth"):
        measured(first_pixel, bare)
    with pytest.raises(FileNotFoundError, match="Found nothing at /nowhere"):
        measured(first_pixel, bare, retrieval_ground_truth="/nowhere")


def test_by_instance_it_pools_regions_of_the_networks_map(tmp_path):
    photos = [
        image_files.write(tmp_path, f"{i}.png", image_files.picture(90, 120))
        for i in range(5)
    ]
    instance_set.write(
        tmp_path / "set", tmp_path / "truth", photos[:2], photos[2:], views=3
    )
    keras.utils.set_random_seed(0)
    images = keras.Input([None, None, 3])
    # Of one channel alone that is not 0, all regions are alike.
    convolve = keras.layers.Conv2D(
        4, 5, strides=4, activation="relu", bias_initializer="ones"
    )
    x = convolve(images)
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))
    (tmp_path / "other").mkdir()
    for i in range(2):
        image_files.write(
            tmp_path / "other", f"{i}.png", image_files.picture(90, 120)
        )
    uri, other = (f"folder:{tmp_path / name}" for name in ("set", "other"))
    knobs = {
        "retrieval_ground_truth": str(tmp_path / "truth"),
        "retrieval_longer_side": 64,
    }

    figures, _ = measured(
        evaluation.keras_network(model),
        data.open_source(uri),
        retrieval_whiten_images=other,
        retrieval_whiten_width=3,
        **knobs,
    )

    assert figures["figures"] == ["mAP", "mP@1", "mP@5", "mP@10"]
    assert 0 < figures["mAP"] <= 1 and 0 < figures["mAP_chance"] < 1
    low, high = figures["mAP_interval"]
    assert low <= figures["mAP"] <= high
    searched = r"whiten_images must hold other .* with (\d+) of the \1 images"
    with pytest.raises(ValueError, match=searched):
        measured(
            evaluation.pixels,
            data.open_source(uri),
            retrieval_whiten_images=uri,
            **knobs,
        )
    # Of pixels there is no map.
    with pytest.raises(ValueError, match="pools a network's map"):
        measured(evaluation.pixels, data.open_source(uri), **knobs)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        (
            {
                "retrieval_pooling": "features",
                "retrieval_ground_truth": "truth",
            },
            "rmac, gem or spoc with retrieval_ground_truth",
        ),
        ({"retrieval_layer": "conv"}, "Add --retrieval_pooling=rmac"),
        ({"retrieval_pooling": "max"}, "one of , features, rmac"),
    ],
)
def test_impossible_knobs_are_named(knobs, words):
    with pytest.raises(ValueError, match=words):
        EvaluationConfig(**knobs)
