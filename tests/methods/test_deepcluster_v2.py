"""DeepCluster-v2 against plain NumPy, and its own promises."""

import functools

import numpy as np
import pytest

from tests.support import contract_run, oracles
from tfclust.ops import kmeans

MULTI_CROP = {
    "view_sizes": (12, 8),
    "num_views": (2, 1),
    "view_scales": ((0.4, 1.0), (0.2, 0.4)),
}


def as_float64(views, batch):
    return [x.numpy().astype(np.float64) for x in views.on_device(batch)]


def oracle_reassign(bank, rows, config, epoch):
    """Centroids `[D, K]` and labels `[N]` of each head, -1 if not visited."""
    centroids, labels = [], []
    for head, count in enumerate(config.num_clusters):
        chosen = bank[rows, head % 2]
        start = kmeans.random_rows(chosen, count, seed=(0, epoch, head))
        means, found = oracles.spherical_kmeans(
            chosen, np.asarray(start, np.float64), config.kmeans_iters
        )
        label = np.full(len(bank), -1)
        label[rows] = found
        centroids.append(means.T)
        labels.append(label)
    return centroids, labels


def oracle_loss(parameters, views, centroids, labels, config):
    units = oracles.units(parameters, views)  # [V, B, D]
    total = 0.0
    for means, label in zip(centroids, labels, strict=True):
        log_probs = oracles.log_softmax(units @ means / config.temperature)
        known = label >= 0
        picked = log_probs[:, np.arange(len(label)), np.maximum(label, 0)]
        total += -picked[:, known].mean() / len(centroids)
    return total


def test_three_steps_and_a_reassignment_match_numpy_within_1e_4():
    method = contract_run.build("deepcluster_v2", rate=0.03)
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
            centroids, labels = oracle_reassign(
                bank, np.sort(visited), method.config, epoch
            )
            visited = np.zeros(0, np.int64)
        batch = next(iter(views.batches(epoch, start_step=first)))
        index, images = batch["index"].numpy(), as_float64(views, batch)
        units = oracles.units(parameters, images)

        of_batch = [label[index] for label in labels]
        loss = functools.partial(
            oracle_loss,
            views=images,
            centroids=centroids,
            labels=of_batch,
            config=method.config,
        )
        losses.append(loss(parameters))
        gradients = oracles.gradient(loss, parameters)
        oracles.sgd(
            parameters, gradients, buffers, rate=0.03, momentum=0.9, decay=1e-4
        )
        bank[index] = units[:2].transpose(1, 0, 2)
        visited = np.union1d(visited, index)
    history = method.fit(views, steps=3)
    got = history.history["loss"]
    np.testing.assert_allclose(got, [np.mean(losses[:2]), losses[2]], atol=1e-4)
    for variable, value in zip(
        method.trainable_variables, parameters, strict=True
    ):
        np.testing.assert_allclose(
            variable, value, atol=1e-4, err_msg=variable.path
        )
    for head in range(2):
        np.testing.assert_array_equal(method.labels.rows[:, head], labels[head])
        np.testing.assert_allclose(
            method.prototypes.kernels[head], centroids[head], atol=1e-4
        )
    np.testing.assert_allclose(method.bank.array, bank, atol=1e-4)


def test_prototypes_are_the_centroids_and_no_step_moves_them():
    method = contract_run.build("deepcluster_v2")
    views = contract_run.views()
    method.fit(views, steps=1)
    start = [k.numpy() for k in method.prototypes.kernels]
    method.fit(views, steps=4, start_step=1)
    for kernel, before in zip(method.prototypes.kernels, start, strict=True):
        np.testing.assert_array_equal(kernel, before)
        np.testing.assert_allclose(np.linalg.norm(before, axis=0), 1, atol=1e-5)


def test_images_the_last_epoch_missed_are_ignored(eager):
    method = contract_run.build("deepcluster_v2")
    views = contract_run.views(num_images=40)  # two steps of 16 an epoch
    method.fit(views, steps=3)
    labels = method.labels.rows.numpy()
    assert (labels[:, 0] < 0).sum() == 8
    np.testing.assert_array_equal(labels[:, 0] < 0, labels[:, 1] < 0)
    outputs = method.forward(
        views.on_device(next(iter(views.batches(1)))), training=False
    )
    losses = method.example_losses(outputs, labels[:16])
    np.testing.assert_array_equal(losses.weight, np.float32(labels[:16].T >= 0))


def test_heads_cluster_the_banks_of_their_view():
    method = contract_run.build("deepcluster_v2", num_clusters=(5, 5, 5))
    views = contract_run.views()
    method.fit(views, steps=1)
    assert method.bank.array.shape == (64, 2, 4)
    assert not np.array_equal(
        method.labels.rows[:, 0], method.labels.rows[:, 2]
    )


def test_more_clusters_than_images_are_refused():
    method = contract_run.build("deepcluster_v2", num_clusters=50)
    with pytest.raises(ValueError, match="32 images an epoch cannot fill 50"):
        method.fit(contract_run.views(num_images=40), steps=1)
