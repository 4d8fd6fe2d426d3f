"""Projectors and heads that one method has: their layers and first weights."""

import numpy as np
import pytest

from tests.support.tiny import tiny_backbone
from tfclust import methods
from tfclust.layers.classifiers import Classifier
from tfclust.methods import coke, odc


def assert_normal(kernel, stddev):
    """Values are from N(0, stddev), not cut off; for 10,000 values or more."""
    values = np.asarray(kernel).ravel() / stddev
    assert values.size >= 10_000
    # Five standard errors each.
    assert np.abs(values.mean()) < 5 / np.sqrt(values.size)
    assert np.abs(values.std() - 1) < 5 / np.sqrt(2 * values.size)
    # 1.24 % lie beyond 2.5; of a truncated normal of that deviation none.
    beyond = np.mean(np.abs(values) > 2.5)
    assert np.abs(beyond - 0.01242) < 5 * np.sqrt(0.01242 / values.size)


def test_cokes_projector_is_three_layers_each_with_batch_norm():
    model = coke.deep_projector(6, hidden_width=5, projection_width=4)
    shapes = [tuple(v.shape) for v in model.trainable_variables]
    assert shapes == [
        (6, 6), (6,), (6,), (6,),
        (6, 5), (5,), (5,), (5,),
        (5, 4), (4,), (4,), (4,),
    ]  # fmt: skip
    rows = np.random.default_rng(0).normal(size=(64, 6)).astype("f4")
    projections = model(rows, training=True).numpy()
    # The last batch norm has nothing after it, and starts as the identity.
    np.testing.assert_allclose(projections.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(projections.std(axis=0), 1, atol=1e-2)


def test_odcs_projector_starts_he_normal_with_biases_of_0():
    model = odc.dropout_projector(
        200,
        hidden_width=100,
        projection_width=128,
        dropout=0.5,
        bn_momentum=0.999,
        key=None,
    )
    for name, fan_in in (("hidden", 200), ("projections", 100)):
        layer = model.get_layer(name)
        assert_normal(layer.kernel, np.sqrt(2 / fan_in))
        np.testing.assert_array_equal(layer.bias, 0)


def test_odcs_classifier_starts_normal_with_biases_of_0():
    method = methods.ODC(
        tiny_backbone(), num_clusters=(200,), projection_width=64
    )
    assert_normal(method.classifier.kernel, 0.01)
    np.testing.assert_array_equal(method.classifier.bias, 0)


def test_swavs_projector_can_do_without_batch_norm():
    method = methods.SwAV(
        tiny_backbone(),
        num_clusters=(5,),
        hidden_width=6,
        hidden_batch_norm=False,
    )
    kinds = [type(layer).__name__ for layer in method.projector.layers[1:]]
    assert kinds == ["Dense", "ReLU", "Dense"]


@pytest.mark.parametrize(
    "build", [methods.SeLa, methods.FixedLabels], ids=lambda m: m.__name__
)
def test_heads_start_normal_where_the_recipe_says_so(build):
    count = 3_000
    method = build(
        tiny_backbone(), num_clusters=(count, count), head_start="normal"
    )
    for head in method.classifier.heads:
        assert_normal(head.kernel, 0.01)
        np.testing.assert_array_equal(head.bias, 0)


def test_the_head_of_rotations_starts_as_torchs_linear_layer():
    """The source adds it to a network that already has its first weights."""
    method = methods.FixedLabels(
        tiny_backbone(), num_clusters=(5,), rotation=True, head_start="normal"
    )
    (head,) = method.rotation_classifier.heads
    limit = 1 / np.sqrt(method.projection_width)
    assert 0.05 < np.abs(head.kernel).max() <= limit
    assert np.abs(head.bias).max() > 0


def test_heads_start_uniform_unless_told():
    (head,) = Classifier(16, (800,)).heads
    kernel = np.abs(head.kernel)
    assert 0.99 / 4 < kernel.max() <= 1 / 4
    assert kernel.mean() == pytest.approx(1 / 8, rel=0.02)
