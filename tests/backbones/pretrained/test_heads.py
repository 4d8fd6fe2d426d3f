"""Projectors and prototypes that stand beside a published network."""

import numpy as np
import pytest

from tests.support import published
from tests.support.published import prefixed
from tfclust.backbones.pretrained.heads import head_of


def test_prototypes_are_brought_to_unit_length():
    arrays = published.swav_head(6)
    (kernel,) = head_of(arrays).prototypes
    assert kernel.shape == (8, 11)
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), 1, atol=1e-6)
    raw = arrays["prototypes.weight"]
    cosine = (raw * kernel.T).sum(1) / np.linalg.norm(raw, axis=1)
    np.testing.assert_allclose(cosine, 1, atol=1e-6)


def test_heads_of_deepcluster_v2_come_in_their_order():
    arrays = published.swav_head(6, prototypes=range(3, 15))
    head = head_of(dict(reversed(arrays.items())))
    assert [p.shape[1] for p in head.prototypes] == list(range(3, 15))


def test_vissl_has_the_same_head_below_another_name():
    arrays = {
        name.replace("prototypes.", "prototypes0."): array
        for name, array in published.swav_head(6).items()
    }
    model = "classy_state_dict.base_model.model.heads.0."
    head = head_of(prefixed(model, arrays))
    wanted = head_of(published.swav_head(6))
    np.testing.assert_array_equal(head.prototypes[0], wanted.prototypes[0])
    for left, right in zip(head.weights, wanted.weights, strict=True):
        np.testing.assert_array_equal(left, right)


def test_single_linear_projector():
    make = published.Maker()
    make.weights("projection_head", (8, 6), bias=True)
    make.weights("prototypes", (11, 8))
    head = head_of(make.arrays)
    assert (head.hidden_width, head.projection_width) == (0, 8)
    kernel, _ = head.weights
    np.testing.assert_array_equal(
        kernel, make.arrays["projection_head.weight"].T
    )


def without(*names):
    arrays = published.swav_head(6)
    return {key: a for key, a in arrays.items() if key not in names}


INCOMPLETE = {
    "nothing": dict,
    "no prototypes": lambda: without("prototypes.weight"),
    "no bias": lambda: without("projection_head.3.bias"),
    "no first layer": lambda: without("projection_head.0.weight"),
    "a third layer": lambda: (
        without() | {"projection_head.6.weight": np.ones([2, 2])}
    ),
    "prototypes of another width": lambda: (
        without() | {"prototypes.weight": np.ones([4, 5])}
    ),
    "a number in a matrix's place": lambda: (
        without() | {"projection_head.0.weight": np.float32(1)}
    ),
}


@pytest.mark.parametrize("name", INCOMPLETE)
def test_incomplete_head_is_none(name):
    assert head_of(INCOMPLETE[name]()) is None
