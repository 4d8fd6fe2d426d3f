"""`--init_from=imagenet`: Keras's own weights, fetched by Keras."""

import numpy as np
import pytest
from keras.src.utils import file_utils

from tfclust import backbones
from tfclust.backbones.applications import application

NAME = "MobileNetV3Small"
CONFIG = backbones.BackboneConfig(backbone=NAME, init_from="imagenet")


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """A network of random weights, and the file that Keras would fetch."""
    network = application(NAME)
    path = tmp_path_factory.mktemp("keras") / "mobilenet.weights.h5"
    network.save_weights(path)
    return network, str(path)


def test_weights_are_keras_own(fetched, monkeypatch):
    network, path = fetched
    monkeypatch.setattr(file_utils, "get_file", lambda *a, **k: path)
    told = []
    backbone = backbones.from_config(CONFIG, image_size=64, say=told.append)
    pairs = zip(backbone.get_weights(), network.get_weights(), strict=True)
    for own, wanted in pairs:
        np.testing.assert_array_equal(own, wanted)
    assert told == [
        "Weights of MobileNetV3Small: trained on ImageNet's labels, by Keras."
    ]


def test_first_stages_alone_can_be_taken(fetched, monkeypatch):
    network, path = fetched
    monkeypatch.setattr(file_utils, "get_file", lambda *a, **k: path)
    config = backbones.BackboneConfig(
        backbone=NAME, init_from="imagenet", init_stages=0
    )
    backbone = backbones.from_config(config, image_size=64)
    own, wanted = backbone.get_weights(), network.get_weights()
    np.testing.assert_array_equal(own[0], wanted[0])
    assert not np.array_equal(own[-5], wanted[-5])


def test_missing_network_is_one_line(monkeypatch):
    def offline(*args, **kwargs):
        raise Exception(
            "URL fetch failure on https://storage.googleapis.com/w.h5: None "
            "-- [Errno -2] Name or service not known"
        )

    monkeypatch.setattr(file_utils, "get_file", offline)
    with pytest.raises(ValueError, match="URL fetch failure on.*/w.h5.*") as e:
        backbones.from_config(CONFIG, image_size=64)
    assert "\n" not in str(e.value)
    assert "init_from=imagenet for backbone MobileNetV3Small" in str(e.value)


def test_networks_without_such_weights_are_refused():
    with pytest.raises(ValueError, match="Give a network of keras.applic"):
        backbones.BackboneConfig(backbone="resnet50", init_from="imagenet")
