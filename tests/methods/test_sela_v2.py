"""SeLa-v2 against plain NumPy, and its own promises."""

import functools

import numpy as np
import pytest

from tests.support import contract_run, oracles

MULTI_CROP = {
    "view_sizes": (12, 8),
    "num_views": (2, 1),
    "view_scales": ((0.4, 1.0), (0.2, 0.4)),
}


def as_float64(views, batch):
    return [x.numpy().astype(np.float64) for x in views.on_device(batch)]


def oracle_reassign(bank, rows, parameters, config):
    """Labels `[N, H]`, -1 where the last epoch missed the image."""
    labels = np.full([len(bank), 2], -1)
    for head, prototypes in enumerate(parameters[-2:]):
        scores = bank[rows, head % 2] @ prototypes / config.temperature
        power = config.temperature / config.epsilon
        q = oracles.transport(oracles.log_softmax(scores), power)
        labels[rows, head] = q.argmax(axis=1)
    return labels


def oracle_loss(parameters, views, labels, config):
    units = oracles.units(parameters, views)  # [V, B, D]
    total = 0.0
    for head, prototypes in enumerate(parameters[-2:]):
        scores = units @ prototypes / config.temperature
        label = labels[:, head]
        known = label >= 0
        picked = oracles.log_softmax(scores)[
            :, np.arange(len(label)), np.maximum(label, 0)
        ]
        total -= picked[:, known].mean() / 2
    return total


def test_three_steps_and_a_reassignment_match_numpy_within_1e_4():
    method = contract_run.build("sela_v2", rate=0.03)
    views = contract_run.views(batch_size=32, **MULTI_CROP)
    method.prepare(views)
    parameters = oracles.initial_parameters(method)
    buffers = [np.zeros_like(p) for p in parameters]
    bank = np.zeros([64, 2, 4])
    for batch in views.extraction_batches("train", batch_size=32, shuffle=True):
        units = oracles.units(parameters, as_float64(views, batch))
        bank[batch["index"].numpy()] = units.transpose(1, 0, 2)
    visited, losses = np.arange(64), []
    for step in range(3):
        epoch, first = divmod(step, 2)
        if first == 0:
            labels = oracle_reassign(
                bank, np.sort(visited), parameters, method.config
            )
            visited = np.zeros(0, np.int64)
        batch = next(iter(views.batches(epoch, start_step=first)))
        index, images = batch["index"].numpy(), as_float64(views, batch)
        units = oracles.units(parameters, images)
        loss = functools.partial(
            oracle_loss,
            views=images,
            labels=labels[index],
            config=method.config,
        )
        losses.append(loss(parameters))
        gradients = oracles.gradient(loss, parameters)
        oracles.sgd(
            parameters, gradients, buffers, rate=0.03, momentum=0.9, decay=1e-4
        )
        for prototypes in parameters[-2:]:
            prototypes /= np.linalg.norm(prototypes, axis=0)
        bank[index] = units[:2].transpose(1, 0, 2)
        visited = np.union1d(visited, index)
    history = method.fit(views, steps=3)
    got = history.history["loss"]
    np.testing.assert_allclose(got, [np.mean(losses[:2]), losses[2]], atol=1e-4)
    np.testing.assert_array_equal(method.labels.rows, labels)
    for variable, value in zip(
        method.trainable_variables, parameters, strict=True
    ):
        np.testing.assert_allclose(
            variable, value, atol=1e-4, err_msg=variable.path
        )
    np.testing.assert_allclose(method.bank.array, bank, atol=1e-4)


@pytest.mark.slow
def test_clusters_are_filled_alike_by_the_oracle_and_by_the_method():
    # Four columns tell little apart: only a hard Q rounds evenly.
    method = contract_run.build("sela_v2", num_clusters=8, epsilon=0.003)
    views = contract_run.views(num_images=512, batch_size=64)
    method.fit(views, steps=8)
    rows = method.bank.array[:, 0]
    (kernel,) = method.prototypes.kernels
    scores = np.float64(rows) @ kernel.numpy()
    assert np.bincount(scores.argmax(axis=1), minlength=8).max() > 96
    q = oracles.transport(oracles.log_softmax(scores), 1 / 0.003)
    counts = np.bincount(q.argmax(axis=1), minlength=8)
    assert np.abs(counts / 64 - 1).max() <= 0.2
    method.epoch.assign(1)
    method.reassign(method.extract)
    counts = np.bincount(method.labels.rows[:, 0], minlength=8)
    assert np.abs(counts / 64 - 1).max() <= 0.2


def test_prototypes_are_learned_and_stay_at_unit_norm():
    method = contract_run.build("sela_v2")
    views = contract_run.views()
    method.prepare(views)
    start = [kernel.numpy() for kernel in method.prototypes.kernels]
    method.fit(views, steps=2)
    for kernel, before in zip(method.prototypes.kernels, start, strict=True):
        assert np.abs(kernel.numpy() - before).max() > 1e-4
        norms = np.linalg.norm(kernel, axis=0)
        np.testing.assert_allclose(norms, 1, atol=1e-6)


@pytest.mark.slow
def test_images_the_last_epoch_missed_are_ignored(eager):
    method = contract_run.build("sela_v2")
    views = contract_run.views(num_images=40)  # two steps of 16 an epoch
    method.fit(views, steps=3)
    labels = method.labels.rows.numpy()
    assert (labels[:, 0] < 0).sum() == 8
    outputs = method.forward(
        views.on_device(next(iter(views.batches(1)))), training=False
    )
    losses = method.example_losses(outputs, labels[:16])
    np.testing.assert_array_equal(losses.weight, np.float32(labels[:16].T >= 0))


def test_more_clusters_than_images_are_refused():
    method = contract_run.build("sela_v2", num_clusters=50)
    with pytest.raises(ValueError, match="32 images an epoch cannot fill 50"):
        method.fit(contract_run.views(num_images=40), steps=1)
