"""Projector, prototypes and classifier."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfclust.layers import projectors
from tfclust.layers.classifiers import Classifier, MaskedClassifier
from tfclust.layers.prototypes import Prototypes
from tfclust.ops.units import unit_vectors


def test_projector_is_linear_bn_relu_linear():
    model = projectors.projector(6, hidden_width=5, projection_width=4)
    kinds = [type(layer).__name__ for layer in model.layers[1:]]
    assert kinds == ["Dense", "BatchNormalization", "ReLU", "Dense"]
    # 6*5+5 and 2*5 trainable BN, 5*4+4.
    count = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert count == 35 + 10 + 24


def test_swav_projector_has_the_published_size():
    model = projectors.projector(2048, hidden_width=2048, projection_width=128)
    expected = 2048 * 2048 + 2048 + 2 * 2048 + 2048 * 128 + 128
    count = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert count == expected


@pytest.mark.parametrize("hidden", [0, 5])
def test_weights_start_within_the_square_root_of_fan_in(hidden):
    model = projectors.projector(64, hidden_width=hidden, projection_width=400)
    last = model.get_layer("projections")
    limit = 1 / np.sqrt(hidden or 64)
    kernel = np.abs(last.kernel.numpy())
    assert 0.95 * limit < kernel.max() <= limit
    assert np.abs(last.bias.numpy()).max() <= limit


def test_width_0_passes_features_through():
    model = projectors.projector(6, hidden_width=0, projection_width=0)
    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    np.testing.assert_array_equal(model(x), x)


def test_prototypes_start_as_unit_columns_and_score_by_cosine():
    prototypes = Prototypes(4, (5, 3), learned=True)
    rows = np.random.default_rng(0).normal(size=(7, 4))
    units = unit_vectors(rows.astype(np.float32))
    for kernel, scores in zip(
        prototypes.kernels, prototypes(units), strict=True
    ):
        np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), 1, atol=1e-6)
        assert scores.shape == (7, kernel.shape[-1])
        assert np.abs(scores).max() <= 1 + 1e-6


def test_computed_centroids_are_seen_by_no_optimizer():
    centroids = Prototypes(4, (5,), learned=False)
    assert centroids.trainable_variables == []
    assert len(centroids.variables) == 1


def test_heads_stay_float32_under_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = projectors.projector(6, hidden_width=5, projection_width=4)
        prototypes = Prototypes(4, (5,), learned=True)
        projections = model(np.ones((2, 6), np.float32))
        assert projections.dtype == "float32"
        assert prototypes(projections)[0].dtype == "float32"
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_classifiers_start_as_linear_layers_and_unlike_one_another():
    classifier = Classifier(64, (300, 300, 7))
    assert len(classifier.trainable_variables) == 6
    kernels = [dense.kernel.numpy() for dense in classifier.heads]
    assert 0.95 / 8 < np.abs(kernels[0]).max() <= 1 / 8
    assert np.mean(kernels[0] == kernels[1]) < 0.1
    x = np.random.default_rng(0).normal(size=(2, 5, 64)).astype(np.float32)
    for dense, scores in zip(classifier.heads, classifier(x), strict=True):
        expected = x @ dense.kernel.numpy() + dense.bias.numpy()
        np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_rectifier_takes_the_negative_part_away():
    model = projectors.rectifier(2)
    found = model(np.float32([[-1.0, 2.0]]))
    np.testing.assert_array_equal(found, [[0.0, 2.0]])


def test_closed_classes_have_no_probability_and_get_no_gradient():
    classifier = MaskedClassifier(3, 5, name="classifier")
    classifier.num_open.assign(2)
    rows = np.float32(np.random.default_rng(0).normal(size=(2, 4, 3)))
    with tf.GradientTape() as tape:
        scores = classifier(rows)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
            np.ones([2, 4], np.int32), scores
        )
    variables = [classifier.kernel.value, classifier.bias.value]
    kernel, bias = tape.gradient(loss, variables)
    assert scores.shape == (2, 4, 5)
    np.testing.assert_array_equal(scores[..., 2:], -np.inf)
    expected = rows @ classifier.kernel[:, :2]
    np.testing.assert_allclose(scores[..., :2], expected, rtol=1e-5)
    np.testing.assert_array_equal(kernel[:, 2:], 0)
    np.testing.assert_array_equal(bias[2:], 0)
    assert np.abs(kernel[:, :2]).min() > 0


def test_a_fresh_classifier_is_keyed_by_its_seed():
    classifier = MaskedClassifier(50, 40, name="classifier")
    (_, kernel), (_, bias) = classifier.fresh((3, 1))
    np.testing.assert_array_equal(kernel, classifier.fresh((3, 1))[0][1])
    assert not np.array_equal(kernel, classifier.fresh((3, 2))[0][1])
    assert kernel.dtype == np.float32
    assert kernel.std() == pytest.approx(0.01, rel=0.05)
    np.testing.assert_array_equal(bias, 0)
