"""DeepCluster against plain NumPy, and its own promises."""

import functools
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import normalized_mutual_info_score

from tests.support import contract_run, oracles
from tests.support.marks import slow
from tests.support.tiny import two_views
from tfclust import data, optimizers
from tfclust.ops import clusterer, groups, kmeans
from tfclust.ops.class_balance import balanced_order


def build(**knobs):
    return contract_run.build("deepcluster", **knobs)


def repeated_images(distinct=12, times=5):
    """Twelve images, each five times: at most twelve clusters have images."""
    images = load_digits().images[:distinct].repeat(2, 1).repeat(2, 2)
    images = np.uint8(images * 15.9)[..., None].repeat(3, -1)
    return data.ArraySource(np.repeat(images, times, axis=0))


def coloured_blobs():
    """48 images of three colours, nearly alike, and 16 of any colour."""
    generator = np.random.default_rng(0)
    colours = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]])
    colours = colours.repeat(16, axis=0) + generator.normal(0, 2, [48, 3])
    colours = np.concatenate([colours, generator.uniform(0, 255, [16, 3])])
    images = np.uint8(np.clip(colours, 0, 255))[:, None, None]
    return data.ArraySource(images.repeat(16, 1).repeat(16, 2))


def blobs():
    return two_views(coloured_blobs(), batch_size=16, augmentation="none")


def eval_features(parameters, views):
    """`[N, F]` float64 of all images' evaluation crops."""
    rows = np.zeros([views.num_images, 6])
    for batch in views.extraction_batches("eval"):
        (images,) = views.on_device(batch)
        rows[batch["index"]] = oracles.features(
            parameters, images[0].numpy().astype(np.float64)
        )
    return rows


def oracle_groups(features, config, seed):
    """Consecutive labels `[N]` and centroids of whitened unit rows."""
    rows = PCA(config.pca_width, whiten=True).fit_transform(features)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    (count,) = config.num_clusters
    start = kmeans.random_rows(rows, count, seed=seed)
    return oracle_kmeans(rows, np.float64(start), config.kmeans_iters)


def oracle_kmeans(rows, centroids, num_iters):
    """Lloyd's passes; empty clusters stay, and are left out at the end."""

    def nearest():
        squares = ((rows[:, None] - centroids) ** 2).sum(axis=2)
        return squares.argmin(axis=1)

    for _ in range(num_iters):
        labels = nearest()
        for k in np.unique(labels):
            centroids[k] = rows[labels == k].mean(axis=0)
    filled, labels = np.unique(nearest(), return_inverse=True)
    return labels, centroids[filled]


def oracle_loss(parameters, images, labels):
    kernel, bias = parameters[2:]
    losses = []
    for view in images:
        rows = np.maximum(oracles.features(parameters, view), 0)
        log_probs = oracles.log_softmax(rows @ kernel + bias)
        losses.append(-log_probs[np.arange(len(labels)), labels].mean())
    return np.mean(losses)


def test_three_steps_and_two_reassignments_match_numpy_within_1e_4():
    method = build(rate=0.03, classifier_rate=2.0)
    views = contract_run.views(batch_size=32)
    method.prepare(views)
    parameters = oracles.initial_parameters(method)
    buffers = [np.zeros_like(p) for p in parameters]
    losses = []
    for step in range(3):
        epoch, first = divmod(step, 2)
        if first == 0:
            features = eval_features(parameters, views)
            labels, means = oracle_groups(features, method.config, (0, epoch))
            assert len(means) == 5  # else the classifier has a mask
            order = balanced_order(labels, seed=(0, epoch))
            fresh = method.classifier.fresh((0, epoch))
            parameters[2:] = [np.float64(value) for _, value in fresh]
            buffers[2:] = [np.zeros_like(p) for p in parameters[2:]]
        batch = next(iter(views.batches(epoch, start_step=first, order=order)))
        (images,) = views.on_device(batch)
        loss = functools.partial(
            oracle_loss,
            images=images.numpy().astype(np.float64),
            labels=labels[batch["index"]],
        )
        losses.append(loss(parameters))
        gradients = oracles.gradient(loss, parameters)
        for part, rate, momentum in (
            (slice(0, 2), 0.03, 0.9),
            (slice(2, 4), 0.06, 0.0),
        ):
            oracles.sgd(
                parameters[part], gradients[part], buffers[part],
                rate=rate, momentum=momentum, decay=1e-4,
            )  # fmt: skip
    history = method.fit(views, steps=3)
    got = history.history["loss"]
    np.testing.assert_allclose(got, [np.mean(losses[:2]), losses[2]], atol=1e-4)
    np.testing.assert_array_equal(method.labels.rows[:, 0], labels)
    np.testing.assert_array_equal(method.order_snapshot, order)
    for variable, value in zip(
        method.trainable_variables, parameters, strict=True
    ):
        np.testing.assert_allclose(
            variable, value, atol=1e-4, err_msg=variable.path
        )
    # PCA's directions have either sign; lengths and distances do not.
    np.testing.assert_allclose(
        method.centroids.array @ method.centroids.array.T,
        means @ means.T,
        atol=1e-4,
    )


@pytest.mark.parametrize("balance", ["sampling", "weights"])
def test_no_step_trains_an_empty_cluster(balance):
    knobs = {"num_clusters": 30, "empty_clusters": "keep", "balance": balance}
    method = build(**knobs)
    views = two_views(repeated_images(), batch_size=16, augmentation="none")
    method.prepare(views)
    # First on the oracle: of 30 clusters over 12 images most are empty, its
    # labels leave no gap, and so does the order that is drawn from them.
    features = eval_features(oracles.initial_parameters(method), views)
    labels, means = oracle_groups(features, method.config, (0, 0))
    assert len(means) <= 12 < 30
    np.testing.assert_array_equal(np.unique(labels), np.arange(len(means)))
    drawn = np.bincount(labels[balanced_order(labels, seed=(0, 0))])
    assert len(drawn) == len(means) and drawn.min() > 0

    trained = []
    method.fit(views, epochs=2, callbacks=[_Labels(method, trained)])
    for labels, found in trained:
        sizes = np.bincount(labels, minlength=30)
        # Near 12: rounding by the place in a batch can part equal images.
        assert found < 30
        assert sizes[:found].min() > 0 and sizes[found:].max() == 0
    outputs = method.forward(_images(views), training=False)
    scores = outputs.scores[0].numpy()
    assert np.isfinite(scores[..., :found]).all()
    assert (scores[..., found:] == -np.inf).all()
    # No gradient reached the closed classes: only decay moved their weights.
    fresh = dict(enumerate(v for _, v in method.classifier.fresh((0, 1))))
    steps, shrink = views.steps_per_epoch, 1 - 0.1 * 1e-4
    np.testing.assert_allclose(
        method.classifier.kernel[:, found:],
        fresh[0][:, found:] * shrink**steps,
        rtol=1e-5,
    )
    np.testing.assert_array_equal(method.classifier.bias[found:], 0)


class Epochs(NamedTuple):
    """A run whose labels live for two of its three epochs."""

    method: Any
    labels: list  # `[N]` at the end of each epoch
    orders: list
    histories: list


@pytest.fixture(scope="module")
def epochs():
    method = build(reassign_epochs=2, num_clusters=12)
    views = contract_run.views()
    seen = Epochs(method, [], [], [])
    for epoch in range(3):
        history = method.fit(views, epochs=epoch + 1, start_step=4 * epoch)
        seen.labels.append(method.labels.rows.numpy()[:, 0])
        seen.orders.append(method.order_snapshot)
        seen.histories.append(history.history)
    return seen


def test_labels_live_for_reassign_epochs_and_orders_for_one(epochs):
    labels, orders = epochs.labels, epochs.orders
    np.testing.assert_array_equal(labels[0], labels[1])
    assert not np.array_equal(labels[1], labels[2])
    assert not np.array_equal(orders[0], orders[1])


def test_nmi_previous_is_of_two_epochs_labels(epochs):
    _, before, after = epochs.labels
    expected = normalized_mutual_info_score(
        before, after, average_method="geometric"
    )
    history = epochs.histories[2]
    assert history["nmi_previous"] == [pytest.approx(expected, abs=1e-6)]
    assert history["changed_share"] == [None]


def test_every_reassignment_makes_a_classifier_without_momentum(epochs):
    method = epochs.method
    trained = method.classifier.kernel.numpy()
    (slot,) = optimizers.slots_of(method.optimizer, method.classifier.kernel)
    assert np.abs(slot.numpy()).max() > 0
    method.epoch.assign(4)
    method.reassign(method.extract)
    fresh = method.classifier.fresh((0, 4))
    for variable, value in fresh:
        np.testing.assert_array_equal(variable, value)
    assert not np.array_equal(
        fresh[0][1], method.classifier.fresh((0, 0))[0][1]
    )
    assert not np.array_equal(fresh[0][1], trained)
    assert fresh[0][1].std() == pytest.approx(0.01, rel=0.4)
    np.testing.assert_array_equal(slot, 0)
    rules = method.variable_rules()
    assert {r.momentum for r in rules.values()} == {0.0} and len(rules) == 2


def test_the_clusterer_repeats_the_last_assignment(epochs):
    assert_repeated_by_the_clusterer(epochs.method)


@pytest.mark.slow
def test_the_clusterer_repeats_the_last_assignment_without_pca():
    method = build(pca_width=0, num_clusters=12)
    method.fit(contract_run.views(), epochs=2)
    assert_repeated_by_the_clusterer(method)


def assert_repeated_by_the_clusterer(method):
    method.reassign(method.extract)  # labels of the backbone as it is now
    (assigns,) = method.clusterer()
    found, score = clusterer.assign(assigns, method.extract("projections"))
    np.testing.assert_array_equal(found, method.labels.rows[:, 0])
    assert score.numpy().max() <= 0.5 + 1e-5  # at a centroid it is 1/2


def test_weights_make_clusters_count_alike(eager):
    method, views = build(balance="weights"), contract_run.views()
    method.fit(views, steps=1)
    assert method.order_snapshot is None
    labels = method.labels.rows.numpy()[:, 0]
    outputs = method.forward(_images(views), training=False)
    losses = method.example_losses(outputs, tf.constant(labels[:16]))
    sizes = np.bincount(labels, minlength=5)
    np.testing.assert_allclose(
        losses.weight, 64 / 5 / sizes[labels[:16]], rtol=1e-6
    )


def test_noise_of_hdbscan_is_neither_drawn_nor_weighed(eager):
    knobs = {"clustering": "hdbscan", "min_cluster_size": 8, "pca_width": 2}
    method = build(num_clusters=10, **knobs)
    views = blobs()
    method.fit(views, steps=1)
    labels = method.labels.rows.numpy()[:, 0]
    noise = labels < 0
    assert 0 < noise.sum() < 32
    assert not noise[method.order_snapshot].any()
    figures = method.figures()
    assert figures["unlabelled_share"] == pytest.approx(noise.mean())
    assert figures["found_clusters"] == labels.max() + 1 >= 2
    outputs = method.forward(_images(views), training=False)
    index = np.flatnonzero(noise)[:1].repeat(16)
    losses = method.example_losses(outputs, method.assign(outputs, index))
    np.testing.assert_array_equal(losses.weight, 0)
    assert np.isfinite(losses.loss).all()


def test_graphs_find_their_own_number_of_clusters():
    method = build(clustering="pic", num_clusters=40)
    views = contract_run.views()
    method.fit(views, epochs=2)
    labels = method.labels.rows.numpy()[:, 0]
    found = int(method.classifier.num_open.numpy())
    np.testing.assert_array_equal(np.unique(labels), np.arange(found))
    assert 2 <= found < 40


@pytest.mark.parametrize(
    "knobs",
    [
        slow(
            {
                "clustering": "hdbscan",
                "min_cluster_size": 8,
                "balance": "weights",
            }
        ),
        {"clustering": "pic", "reassign_epochs": 2},
    ],
    ids=["hdbscan", "pic"],
)
def test_other_clusterings_go_on_as_if_never_stopped(knobs):
    knobs = {"num_clusters": 40, "pca_width": 2, **knobs}
    contract_run.Whole(lambda: build(**knobs), blobs).assert_goes_on()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"num_clusters": 70}, "64 images cannot fill 70 clusters"),
        ({"pca_width": 7}, "at most 6: 64 images.*of 6 values.*pca_width=7"),
        ({"num_clusters": (5, 5)}, r"one value.*num_clusters=\(5, 5\)"),
    ],
)
def test_impossible_knobs_are_refused_before_training(knobs, message):
    with pytest.raises(ValueError, match=message):
        build(**knobs).prepare(contract_run.views())


def test_too_many_images_for_hdbscan_are_refused_before_training(monkeypatch):
    monkeypatch.setattr(groups, "HDBSCAN_MOST_ROWS", 50)
    method = build(clustering="hdbscan")
    with pytest.raises(ValueError, match="at most 50 are allowed.*: 64"):
        method.prepare(contract_run.views())


class _Labels(keras.callbacks.Callback):
    """Remembers labels and the number of open classes of each epoch."""

    def __init__(self, method, found):
        super().__init__()
        self.method, self.found = method, found

    def on_epoch_end(self, epoch, logs=None):
        self.found.append(
            (
                self.method.labels.rows.numpy()[:, 0],
                int(self.method.classifier.num_open.numpy()),
            )
        )


def _images(views):
    return views.on_device(next(iter(views.batches(0))))
