"""`method.clusters`: the cluster of each image of a source, by name."""

import numpy as np
import pytest
import tensorflow as tf

from tests.methods.cases import CLUSTERING
from tests.support import contract_run
from tests.support.marks import slow
from tfclust import saved_model

# One with prototypes, one with centroids of its own and a bias.
QUICK = ("swav",)


@pytest.fixture(scope="module")
def method():
    """Of four steps on 64 images."""
    method = contract_run.build("swav", batch_norm=True)
    method.fit(contract_run.views(), steps=4, verbose=0)
    return method


@pytest.mark.parametrize(
    "name", [n if n in QUICK else slow(n) for n in CLUSTERING]
)
def test_they_are_those_of_the_saved_model(name, tmp_path):
    method = contract_run.build(name)
    method.fit(contract_run.views(), steps=4, verbose=0)
    source = contract_run.digits(21)
    # 21 images are no multiple of the batch.
    found = method.clusters(source, batch_size=8)
    loaded = tf.saved_model.load(
        str(saved_model.save(method, tmp_path / "mine"))
    )
    served = loaded.signatures["images"](images=images_of(source))
    assert found.names == source.manifest().names
    np.testing.assert_array_equal(found.clusters, served["cluster"].numpy())
    # The batches differ, and so do the sums.
    np.testing.assert_allclose(
        found.confidence, served["cluster_score"].numpy(), rtol=1e-4, atol=1e-5
    )


def images_of(source):
    """As the views' evaluation has them: 12 px from 16."""
    whole = source.stored().numpy()[:, 1:-1, 1:-1]
    small = tf.image.resize(whole, [12, 12], antialias=True)
    return tf.cast(tf.cast(small + 0.5, tf.uint8), tf.float32) / 255


def test_images_of_another_size_may_be_asked_for(method):
    found = method.clusters(contract_run.digits(9), image_size=16)
    other = method.clusters(contract_run.digits(9))
    assert found.clusters.shape == other.clusters.shape == (9,)
    assert np.any(found.confidence != other.confidence)


def test_before_training_there_are_none():
    method = contract_run.build("swav")
    for prepared in (False, True):
        if prepared:
            method.prepare(contract_run.views())
        with pytest.raises(ValueError, match="0 steps. Call method.fit first"):
            method.clusters(contract_run.digits(9))


def test_a_folder_in_place_of_a_source_is_met_with_the_way_out(method):
    with pytest.raises(TypeError, match=r"Received: str.*open_source\("):
        method.clusters("/my/images")


def test_a_stream_is_refused(method):
    source = contract_run.digits(9)
    source.is_stream = True
    with pytest.raises(ValueError, match="by their index"):
        method.clusters(source)


def test_asking_changes_nothing(method):
    before = contract_run.copied_state(method)
    method.clusters(contract_run.digits(9))
    for name, value in method.state().items():
        np.testing.assert_array_equal(value, before[name])
