"""What is written down of a method, and what cannot be."""

import json
import types

import keras
import pytest
import tensorflow as tf
from keras import layers

from tests.support.exported import SIZE, stand_in
from tfclust import saved_model


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
        (
            {"image_size": 20, "resize_size": 16},
            "resize_size=16, image_size=20",
        ),
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
