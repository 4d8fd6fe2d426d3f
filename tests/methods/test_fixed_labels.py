"""Fixed labels against plain NumPy, and its own promises."""

import functools

import numpy as np
import pytest

from tests.support import contract_run, oracles
from tests.support.marks import slow
from tests.support.processes import run_in_subprocess
from tfclust import methods
from tfclust.ops.cross_entropy import hard_label_losses
from tfclust.ops.rotations import four_rotations

TWO_SIZES = {
    "view_sizes": (12, 8),
    "num_views": (1, 2),
    "view_scales": ((0.4, 1.0), (0.2, 0.4)),
}
REPLICAS = """
from tests.support import contract_run

contract_run.CASES["fixed_labels"].knobs["rotation"] = True
contract_run.main("fixed_labels", "{output}", 1, 2)
"""


def build(**knobs):
    """A classifier that has to be given labels."""
    knobs = {"num_clusters": (5, 5), "projection_width": 0, **knobs}
    method = methods.FixedLabels(contract_run.tiny_backbone(), **knobs)
    method.compile(optimizer=contract_run.optimizers.SGD(0.1))
    return method


def oracle_loss(parameters, views, labels, rotation):
    """Mean over heads, known images and views; of turns over all copies."""
    classifiers = list(zip(parameters[2::2], parameters[3::2], strict=True))
    turn = classifiers.pop() if rotation else None

    def logs(images, classifier):
        kernel, bias = classifier
        rows = np.maximum(oracles.features(parameters, images), 0)
        return oracles.log_softmax(rows @ kernel + bias)

    images = [one for size in views for one in size]  # [V] of [B, S, S, 3]
    sums, known = 0.0, 0
    for head, classifier in enumerate(classifiers):
        label = labels[:, head]
        rows = np.flatnonzero(label >= 0)
        known += len(rows)
        for one in images:
            found = logs(one, classifier)[rows, label[rows]]
            sums -= found.sum() / len(images)
    total = sums / known
    if rotation:
        copies = [
            logs(np.rot90(one, k, axes=(1, 2)), turn)[:, k].mean()
            for one in images
            for k in range(4)
        ]
        total -= np.mean(copies)
    return total


@pytest.mark.parametrize("rotation", [slow(False), True])
def test_three_steps_match_numpy_within_1e_4(rotation):
    method = contract_run.build("fixed_labels", rate=0.03, rotation=rotation)
    num_views = (1,) if rotation else (2,)  # small: differences cost time
    views = contract_run.views(
        batch_size=32, view_sizes=(8,), num_views=num_views
    )
    method.prepare(views)
    labels = method.labels.rows.numpy()
    assert (labels < 0).any() and len(labels) == 64
    parameters = oracles.initial_parameters(method)
    buffers = [np.zeros_like(p) for p in parameters]
    losses = []
    for step in range(3):
        epoch, first = divmod(step, 2)
        batch = next(iter(views.batches(epoch, start_step=first)))
        loss = functools.partial(
            oracle_loss,
            views=[x.numpy().astype(float) for x in views.on_device(batch)],
            labels=labels[batch["index"].numpy()],
            rotation=rotation,
        )
        losses.append(loss(parameters))
        gradients = oracles.gradient(loss, parameters)
        oracles.sgd(
            parameters, gradients, buffers, rate=0.03, momentum=0.9, decay=1e-4
        )
    got = method.fit(views, steps=3).history["loss"]
    np.testing.assert_allclose(got, [np.mean(losses[:2]), losses[2]], atol=1e-4)
    for variable, value in zip(
        method.trainable_variables, parameters, strict=True
    ):
        np.testing.assert_allclose(
            variable, value, atol=1e-4, err_msg=variable.path
        )
    np.testing.assert_array_equal(method.labels.rows, labels)


def test_turns_are_those_of_numpy_and_exact():
    images = np.random.default_rng(0).random([2, 3, 5, 5, 3], np.float32)
    turned = four_rotations(images).numpy()
    for k in range(4):
        expected = np.rot90(images, k, axes=(2, 3))
        np.testing.assert_array_equal(turned[2 * k : 2 * k + 2], expected)


def test_images_that_are_not_square_are_not_turned():
    with pytest.raises(ValueError, match="4 x 5 pixels"):
        four_rotations(np.zeros([1, 1, 4, 5, 3], np.float32))


def test_label_is_asked_of_upright_copies_and_the_turn_of_all():
    method = contract_run.build("fixed_labels", rotation=True)
    views = contract_run.views(**TWO_SIZES)
    method.prepare(views)
    batch = next(iter(views.batches(0)))
    images = views.on_device(batch)
    outputs = method.forward(method.transform_images(images), training=False)
    upright = method.forward(images, training=False)
    labels = method.assign(outputs, batch["index"])
    of_labels, of_turns = method.example_losses(outputs, labels)
    loss, weight = hard_label_losses(upright.scores[:2], labels)
    np.testing.assert_allclose(of_labels.loss, loss, rtol=1e-5)
    np.testing.assert_array_equal(of_labels.weight, weight)
    np.testing.assert_array_equal(of_turns.weight, 1)
    turns = [0, 1, 2, 3] + [0, 0, 1, 1, 2, 2, 3, 3]  # one view, then two
    logs = oracles.log_softmax(outputs.scores[-1].numpy())  # [12, B, 4]
    wanted = -np.mean([logs[v, :, k] for v, k in enumerate(turns)], axis=0)
    np.testing.assert_allclose(of_turns.loss, wanted, rtol=1e-5)


def test_classifier_reads_features_behind_a_relu_unless_there_is_a_projector():
    method = contract_run.build("fixed_labels")
    method.prepare(contract_run.views())
    batch = next(iter(method.views.batches(0)))
    outputs = method.forward(method.views.on_device(batch), training=False)
    assert outputs.features.numpy().min() < 0  # as AlexNet's and VGG's are
    np.testing.assert_array_equal(
        outputs.projections, np.maximum(outputs.features, 0)
    )


def test_unknown_labels_weigh_nothing():
    logits = np.random.default_rng(0).normal(size=[2, 3, 5]).astype("float32")
    labels = np.array([[4], [-1], [0]], np.int32)
    loss, weight = hard_label_losses([logits], labels)
    logs = oracles.log_softmax(logits)
    np.testing.assert_array_equal(weight, [[1, 0, 1]])
    np.testing.assert_allclose(
        loss.numpy()[0, [0, 2]],
        [-logs[:, 0, 4].mean(), -logs[:, 2, 0].mean()],
        rtol=1e-5,
    )


def test_loss_is_reported_as_a_share_of_chance_rotation_included(eager):
    for rotation, chance in ((False, np.log(5)), (True, np.log(5 * 4))):
        method = contract_run.build("fixed_labels", rotation=rotation)
        views = contract_run.views(num_images=16)  # a step an epoch
        history = method.fit(views, epochs=1).history
        (loss,), (share,) = history["loss"], history["loss_over_log_k"]
        assert share == pytest.approx(loss / chance)
        assert abs(share - 1) < 0.3


@pytest.mark.slow
def test_rotation_compiled_equals_plain():
    values = []
    for jit_compile in (False, True):
        method = contract_run.build(
            "fixed_labels", rotation=True, jit_compile=jit_compile, rate=0.02
        )
        method.fit(contract_run.views(), steps=2)
        values.append([v.numpy() for v in method.trainable_variables])
    for plain, compiled in zip(*values, strict=True):
        np.testing.assert_allclose(plain, compiled, atol=1e-5)


def test_rotation_resumed_equals_never_stopped_with_labels_of_the_state():
    whole, states = contract_run.build("fixed_labels", rotation=True), {}
    kept = contract_run.KeepStates(states, (3,))
    whole.fit(contract_run.views(), steps=7, callbacks=[kept])
    optimizer = contract_run.optimizers.SGD(
        0.1, momentum=0.9, weight_decay=1e-4
    )
    second = build(rotation=True)
    second.compile(optimizer=optimizer)
    second.prepare(contract_run.views())
    second.load_state(states[3])  # and no labels are given
    second.fit(second.views, steps=7, start_step=3)
    resumed = second.state()
    for key, value in whole.state().items():
        np.testing.assert_array_equal(resumed[key], value, err_msg=key)


@pytest.mark.slow
def test_rotation_on_two_replicas_equals_one(tmp_path):
    output = tmp_path / "states.npz"
    run_in_subprocess(REPLICAS.format(output=output))
    states = contract_run.read_states(output)
    contract_run.assert_close(states["1"], states["2"])
    contract_run.assert_close(states["1 from 1"], states["2 from 1"])
    contract_run.assert_close(states["2 from 2"], states["1 from 2"])


def test_clusterer_names_the_classes_alone():
    method = contract_run.build("fixed_labels", rotation=True)
    method.prepare(contract_run.views())
    first, second = method.clusterer()
    assert first.unit_rows is False and first.centroids.shape == (6, 5)
    assert second.bias.shape == (5,)


def test_training_without_labels_is_refused():
    method = build()
    with pytest.raises(ValueError, match="none for 64 images.*take_labels"):
        method.fit(contract_run.views(), steps=1)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros([63, 2], int), r"shape \(64, 2\).*shape \(63, 2\)"),
        (np.zeros(64, int), r"shape \(64, 2\).*shape \(64, 1\)"),
        (np.zeros([64, 2]), "type float64"),
        (np.full([64, 2], [4, 5]), "label 5 in head 1 with num_clusters=5"),
        (np.full([64, 2], [0, -1]), "none for all 64 images in head 1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    method = build()
    method.prepare(contract_run.views())
    with pytest.raises(ValueError, match=message):
        method.take_labels(labels)


def test_one_column_of_labels_serves_one_head():
    method = build(num_clusters=(5,))
    method.prepare(contract_run.views())
    method.take_labels(np.arange(64) % 5 - 2)  # all below zero are unknown
    assert set(method.labels.rows.numpy()[:, 0]) == {-1, 0, 1, 2}


def test_classes_must_be_known_outside_a_recipe():
    with pytest.raises(
        ValueError, match="num_clusters needs one value per head"
    ):
        build(num_clusters=())
