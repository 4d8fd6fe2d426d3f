"""A teacher is the mean of the student's past weights, and no gradient's."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.support import contract_run
from tfclust import evaluation, saved_model
from tfclust.engine import teacher


def pairs(method):
    """(teacher's, student's, whether averaged) of each variable."""
    taught = method.teacher
    mine = taught.backbone.variables + taught.projector.variables
    theirs = method.backbone.variables + method.projector.variables
    return [
        (own, other, other.trainable)
        for own, other in zip(mine, theirs, strict=True)
    ]


@pytest.fixture(scope="module")
def method():
    """Of four steps; with batch norm, whose statistics are its own."""
    method = contract_run.build("student", batch_norm=True)
    method.fit(contract_run.views(), steps=4)
    return method


def test_it_follows_by_the_formula_at_the_rising_decay(eager):
    method = contract_run.build("student")
    method.prepare(contract_run.views())
    method.total_steps = 4
    batch = next(iter(method.views.batches(0)))
    for step in range(3):
        before = [own.numpy() for own, _, _ in pairs(method)]
        method.train_step(batch)
        decay = 1 - 0.2 * (np.cos(np.pi * step / 4) + 1) / 2  # BYOL, 3.2
        for start, (own, other, averaged) in zip(
            before, pairs(method), strict=True
        ):
            if averaged:
                expected = decay * start + (1 - decay) * other.numpy()
                # Float32's rounding of two products and a sum.
                np.testing.assert_allclose(own, expected, rtol=1e-6, atol=1e-8)
                assert np.abs(start - other.numpy()).max() > 0


def test_its_statistics_are_of_its_own_passes(method):
    statistics = [
        (own.numpy(), other.numpy())
        for own, other, averaged in pairs(method)
        if not averaged
    ]
    assert statistics
    for own, other in statistics:
        assert np.abs(own - other).max() > 0
        assert not np.isin(own, (0, 1)).any()  # not as they began


def test_no_optimizer_knows_it(method):
    own = {id(v) for v in method.teacher.variables}
    assert own and not own & {id(v) for v in method.trainable_variables}
    # Step and rate, and a momentum for each of the student's.
    slots = len(method.optimizer.variables)
    assert slots == len(method.trainable_variables) + 2


def test_decay_rises_from_its_start_to_one():
    steps = np.arange(0, 13)
    found = [
        float(teacher.rising(s, start=0.99, total_steps=10)) for s in steps
    ]
    share = np.minimum(steps / 10, 1)
    expected = 1 - 0.01 * (np.cos(np.pi * share) + 1) / 2  # BYOL, 3.2
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found[0] == np.float32(0.99) and found[-1] == 1.0


def test_a_network_that_cannot_be_copied_is_refused_by_name():
    class Wild(layers.Layer):
        def __init__(self, needed):
            super().__init__()
            self.needed = needed

        def call(self, x):
            return x

    inputs = keras.Input([4])
    model = keras.Model(inputs, Wild(3)(inputs), name="wild")
    with pytest.raises(ValueError, match="get_config.*Received: wild"):
        teacher.Teacher(model, model, grouping="size")


def test_without_clusters_it_is_saved_with_features_and_projections(
    method, tmp_path
):
    version = saved_model.save(method, tmp_path / "exported")
    loaded = tf.saved_model.load(str(version))
    images = np.random.default_rng(0).random([3, 24, 24, 3], np.float32)
    found = loaded.signatures["images"](images=tf.constant(images))
    assert set(found) == {"features", "projections"}
    expected = method.backbone(images, training=False)
    np.testing.assert_allclose(found["features"], expected, atol=1e-5)
    units = np.linalg.norm(found["projections"], axis=-1)
    np.testing.assert_allclose(units, 1.0, atol=1e-5)


def test_without_clusters_it_is_evaluated(method):
    labels = np.arange(64) % 4
    results = evaluation.evaluate(
        {"trained": lambda x: method.backbone(x, training=False)},
        contract_run.digits(64, labels),
        contract_run.digits(60, labels[:60]),
        evaluation.EvaluationConfig(protocols=("clusters",)),
        image_size=24,
    )
    assert 0 <= results["trained"]["clusters"]["nmi"] <= 1
