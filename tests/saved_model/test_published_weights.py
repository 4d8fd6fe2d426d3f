"""`tfclust.export --init_from`: a SavedModel of weights that others made."""

import hashlib
import json

import numpy as np
import pytest
import tensorflow as tf

from tests.support import published
from tests.support.commands import status
from tfclust import backbones


def exported(folder, arrays, capsys):
    """The version that the command writes, its lines, and the weights' path."""
    path = published.write_safetensors(folder / "a.safetensors", arrays)
    code = status(
        "export",
        f"--init_from={path}",
        "--backbone=resnet18",
        "--image_size=64",
        "--small_image_stem=no",
        f"--output={folder / 'export'}",
    )
    output, errors = capsys.readouterr()
    assert (code, errors) == (0, "")
    return folder / "export" / "1", output, path


@pytest.fixture
def images():
    return np.random.default_rng(0).random((3, 64, 64, 3), np.float32)


@pytest.mark.slow
def test_swav_comes_with_its_clusters(tmp_path, capsys, images):
    arrays = published.resnet() | published.swav_head(512)
    version, output, path = exported(tmp_path, arrays, capsys)
    assert "with a projector and 11 prototypes" in output
    found = tf.saved_model.load(version).signatures["images"](
        images=tf.constant(images)
    )
    backbone = backbones.build("resnet18", image_size=224)
    head = backbones.load_weights(backbone, path).head
    np.testing.assert_allclose(
        found["features"], backbone(images), rtol=0, atol=1e-3
    )
    units = found["projections"].numpy()
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1, atol=1e-5)
    scores = units @ head.prototypes[0]
    np.testing.assert_array_equal(found["cluster"], scores.argmax(1))
    np.testing.assert_allclose(found["cluster_score"], scores.max(1), atol=1e-5)
    card = json.loads((version / "model_card.json").read_text("utf-8"))
    assert card["init_from"]["file"] == "a.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert card["init_from"]["sha256"] == digest
    assert "SwAV's ResNet" in card["init_from"]["told"]
    assert card["backbone"]["backbone"] == "resnet18"
    assert card["preprocessing"]["centre_crop"] == 64


@pytest.mark.slow
def test_weights_without_prototypes_give_features(tmp_path, capsys, images):
    version, _, _ = exported(tmp_path, published.resnet(), capsys)
    found = tf.saved_model.load(version).signatures["images"](
        images=tf.constant(images)
    )
    assert set(found) == {"features", "projections"}
    features = found["features"].numpy()
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(found["projections"], units, atol=1e-5)
