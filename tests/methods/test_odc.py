"""ODC against plain NumPy, and its own promises."""

import functools
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support import contract_run, oracles
from tests.support.oracles_clusters import Memories
from tfclust.ops import kmeans
from tfclust.ops.two_means import two_means

# Three steps on 64 images in four clusters, with a refresh after the second,
# and a limit at which some clusters are small.
THREE_STEPS = {
    "num_clusters": (4,),
    "dropout": 0.0,
    "centroid_steps": 2,
    "min_cluster": 8,
    "smallest_part": 1,
}


def as_float64(views, batch):
    return [x.numpy().astype(np.float64) for x in views.on_device(batch)]


def raw_projections(parameters, rows, training=True):
    """Linear, batch norm without scale and offset, ReLU, linear, ReLU."""
    w1, b1, w2, b2 = parameters[2:6]
    hidden = rows @ w1 + b1
    if training:
        hidden = hidden - hidden.mean(axis=0)
        variance = hidden.var(axis=0)
    else:
        variance = 1.0  # running statistics at the start: mean 0
    hidden = hidden / np.sqrt(variance + oracles.BN_EPSILON)
    return np.maximum(np.maximum(hidden, 0) @ w2 + b2, 0)


def unit(rows):
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def forward(parameters, views):
    """Raw projections `[V, B, D]` of one size of views in training."""
    features = [oracles.features(parameters, images) for images in views[0]]
    raw = raw_projections(parameters, np.concatenate(features))
    return raw.reshape(len(features), len(features[0]), -1)


def oracle_loss(parameters, views, labels, class_weights):
    kernel, bias = parameters[6:8]
    scores = forward(parameters, views) @ kernel + bias  # [V, B, K]
    log_probs = oracles.log_softmax(scores)
    entropy = -log_probs[:, np.arange(len(labels)), labels].mean(axis=0)
    weights = class_weights[labels]
    return np.sum(weights * entropy) / np.sum(weights)


def oracle_start(parameters, method, views):
    """`Memories` after k-means of the untrained network's projections."""
    (count,) = method.config.num_clusters
    rows = np.zeros([views.num_images, method.projection_width])
    for batch in views.extraction_batches("eval", batch_size=32):
        images = batch["images"].numpy() / 255.0
        features = oracles.features(parameters, images)
        raw = raw_projections(parameters, features, training=False)
        rows[batch["index"].numpy()] = unit(raw)
    means = kmeans.random_rows(rows, count, seed=(0, 0)).astype(np.float64)
    for _ in range(method.config.kmeans_iters):
        distances = ((rows[:, None] - means) ** 2).sum(axis=-1)
        labels = distances.argmin(axis=1)
        for cluster in range(count):
            if np.any(labels == cluster):
                means[cluster] = rows[labels == cluster].mean(axis=0)
    labels = ((rows[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
    return Memories(rows, labels, count)


def inverse_roots(memories):
    weights = (np.array(memories.sizes()) + 1e-5) ** -0.5
    return weights / weights.sum()


def test_three_steps_and_the_first_labels_match_numpy_within_1e_4():
    method = contract_run.build("odc", rate=0.03, **THREE_STEPS)
    views = contract_run.views(batch_size=32)
    method.prepare(views)
    parameters = oracles.initial_parameters(method)
    buffers = [np.zeros_like(p) for p in parameters]
    memories = oracle_start(parameters, method, views)
    assert min(memories.sizes()) > 0
    losses, dissolved = [], []
    for step in range(3):
        epoch, first = divmod(step, 2)
        batch = next(
            iter(
                views.batches(
                    epoch, start_step=first, order=method.order(epoch)
                )
            )
        )
        index, images = batch["index"].numpy(), as_float64(views, batch)
        units = unit(forward(parameters, images))[0]
        loss = functools.partial(
            oracle_loss,
            views=images,
            labels=np.array(memories.labels)[index],
            class_weights=inverse_roots(memories),
        )
        losses.append(loss(parameters))
        gradients = oracles.gradient(loss, parameters)
        for part, momentum in ((slice(0, 6), 0.9), (slice(6, 8), 0.0)):
            oracles.sgd(
                parameters[part],
                gradients[part],
                buffers[part],
                rate=0.03,
                momentum=momentum,
                decay=1e-4,
            )
        memories.update(index, units, 0.5)
        if step % 2:
            for cluster in range(4):
                memories.refresh(cluster)
        dissolved += memories.remove_small(
            8, lambda rows, heir: two_means(rows)
        )
    assert dissolved  # or the test shows less than it should
    history = method.fit(views, steps=3)
    got = history.history["loss"]
    np.testing.assert_allclose(got, [np.mean(losses[:2]), losses[2]], atol=1e-4)
    for variable, value in zip(
        method.trainable_variables, parameters, strict=True
    ):
        np.testing.assert_allclose(
            variable, value, atol=1e-4, err_msg=variable.path
        )
    np.testing.assert_array_equal(method.labels.rows[:, 0], memories.labels)
    np.testing.assert_allclose(method.samples.array, memories.rows, atol=1e-4)
    np.testing.assert_allclose(
        method.centroids.array, memories.centroids, atol=1e-4
    )
    np.testing.assert_allclose(
        method.class_weights, inverse_roots(memories), atol=1e-6
    )


def smallest_by_epoch(limit, halve):
    """Smallest clusters of the loops at the ends of four epochs."""
    generator = np.random.default_rng(0)
    rows = unit(np.abs(generator.normal(size=(64, 8))))
    memories = Memories(rows, generator.integers(5, size=64), 5)
    smallest = []
    for step in range(16):
        index = generator.integers(64, size=16)
        rows = unit(np.abs(generator.normal(size=(16, 8)) + step / 4))
        memories.update(index, rows, 0.5)
        if step % 3 == 2:
            for cluster in range(5):
                memories.refresh(cluster)
        memories.remove_small(limit, halve)
        if step % 4 == 3:
            smallest.append(min(memories.sizes()))
    return smallest


def even_halves(rows, heir):
    """By 2-means, or in the middle where a side would have fewer than 6."""
    part = two_means(rows)
    if min(part.sum(), (~part).sum()) < 6:
        part = np.arange(len(rows)) < len(rows) // 2
    return part


class AfterStep(NamedTuple):
    labels: np.ndarray  # `[N]` on the device
    on_host: np.ndarray
    counts: np.ndarray  # `[K]`


@pytest.fixture(scope="module")
def after_steps():
    """`AfterStep` by the number of steps done, of four epochs of four."""
    method, seen = contract_run.build("odc", min_cluster=6), {}

    def look(step, logs=None):
        seen[step + 1] = AfterStep(
            method.labels.rows.numpy()[:, 0],
            method.host_labels.array.copy(),
            method.counts.array.copy(),
        )

    look_at = keras.callbacks.LambdaCallback(on_train_batch_end=look)
    method.fit(contract_run.views(), epochs=4, callbacks=[look_at])
    return seen


def test_an_epoch_ends_without_small_clusters(after_steps):
    # By the loops first: untended, small clusters are there to be removed.
    assert min(smallest_by_epoch(0, even_halves)) < 6
    assert min(smallest_by_epoch(6, even_halves)) >= 6
    for step in (4, 8, 12, 16):
        counts = np.bincount(after_steps[step].labels, minlength=5)
        assert counts.min() >= 6, counts


def test_labels_on_host_and_device_agree_after_each_step(after_steps):
    assert len(after_steps) == 16
    for labels, on_host, counts in after_steps.values():
        np.testing.assert_array_equal(labels, on_host)
        np.testing.assert_array_equal(np.bincount(labels, minlength=5), counts)


def test_the_first_labels_leave_no_cluster_empty():
    # So many clusters that k-means itself leaves some of them empty.
    method = contract_run.build("odc", num_clusters=32, kmeans_iters=1)
    views = contract_run.views()
    method.prepare(views)
    method.reassign(lambda what, views: np.eye(64, 8, dtype=np.float32))
    assert method.counts.array.min() >= 1
    np.testing.assert_array_equal(
        np.bincount(method.labels.rows[:, 0], minlength=32),
        method.counts.array,
    )


def test_images_are_drawn_with_replacement_and_by_epoch():
    method, views = contract_run.build("odc"), contract_run.views()
    method.prepare(views)
    first, again, other = map(method.order, (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert len(first) == 64 and 30 < len(np.unique(first)) < 50  # 1 - 1 / e


def test_the_classifier_has_no_momentum_and_lives_on():
    method, views = contract_run.build("odc"), contract_run.views()
    method.prepare(views)
    rules = method.variable_rules()
    assert all(rule.momentum == 0 for rule in rules.values())
    kernel = method.classifier.kernel
    assert 0.005 < np.std(kernel) < 0.015
    np.testing.assert_array_equal(method.classifier.bias, np.zeros(5))
    method.fit(views, steps=4)
    before = kernel.numpy()
    method.epoch.assign(1)
    method.begin_epoch(1)
    assert not method.reassign_due(4)
    np.testing.assert_array_equal(kernel, before)


def test_dropout_is_keyed_by_step_row_and_view():
    method, views = contract_run.build("odc"), contract_run.views()
    method.prepare(views)
    dropout = method.projector.get_layer("hidden_dropout")
    ones = tf.ones([32, 16])  # two views of 16 rows
    kept = dropout(ones, training=True).numpy()
    assert set(np.unique(kept)) == {0.0, 2.0}
    assert 0.4 < np.mean(kept == 0) < 0.6
    assert len(np.unique(kept, axis=0)) == 32
    np.testing.assert_array_equal(dropout(ones, training=True), kept)
    np.testing.assert_array_equal(dropout(ones), ones)
    method.step.assign(1)
    assert (dropout(ones, training=True).numpy() != kept).any()


@pytest.mark.parametrize(
    "num_images, clusters, expected", [(1281167, 10000, 20), (64, 5, 2)]
)
def test_min_cluster_is_scaled_to_images_a_cluster(
    num_images, clusters, expected
):
    from tfclust.methods import odc

    config = odc.ODCConfig(num_clusters=(clusters,))
    assert odc._min_cluster(config, num_images) == expected


@pytest.mark.parametrize(
    "knobs, words",
    [
        (
            {"min_cluster": 20},
            "64 images for 5 clusters, 12.8 each, min_cluster=20.*"
            "num_clusters to 2 or fewer, or min_cluster to 2",
        ),
        ({"smallest_part": 7}, "smallest_part=7"),
        ({"num_clusters": 33}, "64 images for 33 clusters.*to 32 or fewer"),
        ({"num_clusters": (5, 5)}, "one clustering.*2 values"),
        ({"dropout": 1.0}, "dropout must be at most 0.99"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_their_numbers(knobs, words):
    with pytest.raises(ValueError, match=words):
        contract_run.build("odc", **knobs).prepare(contract_run.views())


def test_class_weights_are_the_first_replicas_on_every_replica():
    weights = contract_run.build("odc").class_weights
    assert weights.aggregation == "only_first_replica"
