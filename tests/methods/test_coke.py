"""CoKe against plain NumPy, and its own promises."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support import contract_run
from tests.support.marks import slow
from tests.support.oracles_coke import assert_steps_match
from tfclust import optimizers

MULTI_CROP = {
    "view_sizes": (12, 8),
    "num_views": (2, 2),
    "view_scales": ((0.4, 1.0), (0.2, 0.4)),
}
SINGLE = {"num_views": (1,)}
PUBLISHED = {"second_stage_epoch": None}
OTHERS_OF_TABLE_2 = [
    ("current", "current"),
    ("current", "last"),
    ("last", "current"),
]


def test_three_steps_of_views_and_crops_match_numpy_within_1e_4(eager):
    method = contract_run.build(
        "coke",
        rate=0.03,
        num_clusters=(5, 6),
        label_weight=0.35,
        **PUBLISHED,
    )
    views = contract_run.views(batch_size=32, **MULTI_CROP)
    assert_steps_match(method, views, rates=[0.03] * 3)


@pytest.mark.parametrize(
    "of_labels, of_centroids",
    [OTHERS_OF_TABLE_2[0], *(slow(*case) for case in OTHERS_OF_TABLE_2[1:])],
)
def test_table_2_matches_numpy_within_1e_4(eager, of_labels, of_centroids):
    method = contract_run.build(
        "coke",
        rate=0.03,
        loss_labels=of_labels,
        loss_centroids=of_centroids,
        **PUBLISHED,
    )
    views = contract_run.views(batch_size=32, seed=1, **SINGLE)
    oracle = assert_steps_match(method, views, rates=[0.03] * 4)
    assert oracle.relabelled > 8  # else the cases do not differ


@pytest.mark.slow
def test_single_view_and_its_second_stage_match_numpy_within_1e_4():
    # Epoch 0 at rate 0, epoch 1 the second stage's first with hard labels,
    # epoch 2 with soft ones.
    rate = optimizers.Delayed(optimizers.WarmupDrops(0.03), delay_steps=2)
    method = contract_run.build("coke", rate=rate, prediction_weight=0.7)
    views = contract_run.views(batch_size=32, seed=1, **SINGLE)
    assert_steps_match(method, views, rates=[0.0, 0.0, 0.03, 0.03, 0.03])


@pytest.mark.parametrize(
    "optimizer", ["sgd", "lars_vectors_plain"], ids=["sgd", "lars"]
)
def test_epoch_at_rate_0_moves_clusters_momentum_and_batch_norm_alone(
    eager,
    optimizer,
):
    method, views = contract_run.build("coke"), contract_run.views()
    config = optimizers.OptimizerConfig(optimizer=optimizer, idle_epochs=1)
    method.compile(
        optimizer=optimizers.build(config, steps_per_epoch=4, total_steps=8)
    )
    method.prepare(views)
    weights = [v.numpy() for v in method.trainable_variables]
    before = method.state()
    method.fit(views, epochs=1)
    for variable, value in zip(
        method.trainable_variables, weights, strict=True
    ):
        np.testing.assert_array_equal(variable, value)
    after = method.state()
    moved = {k for k in before if not np.array_equal(before[k], after[k])}
    assert any("moving_mean" in key for key in moved)
    assert sum("momentum" in key for key in moved) >= len(weights) - 2
    assert "clusters_0/current" in moved
    assert "clusters_0/last" not in moved
    assert method.labels.rows.numpy().min() >= 0


def test_labels_in_the_loss_are_last_epochs(eager):
    method, views = (
        contract_run.build("coke", **PUBLISHED),
        contract_run.views(),
    )
    method.fit(views, epochs=1)
    batch = next(iter(views.batches(1)))
    last = method.labels.read(batch["index"]).numpy()
    outputs = method.forward(views.on_device(batch), training=True)
    # Turned around, so that this step's labels are others.
    turned = outputs._replace(units=-outputs.units)
    labels = method.assign(turned, batch["index"])
    np.testing.assert_array_equal(labels.clusters[..., 0], last)
    assert (labels.current.numpy() != last).mean() > 0.5


def test_images_without_a_label_take_the_one_just_computed(eager):
    method = contract_run.build("coke", **PUBLISHED)
    views = contract_run.views(num_images=40)  # two steps of 16 an epoch
    method.fit(views, epochs=1)
    missed = np.flatnonzero(method.labels.rows.numpy()[:, 0] < 0)
    assert len(missed) == 8
    batch = next(iter(views.batches(1)))
    index = tf.constant([*missed, *range(8)], tf.int64)
    outputs = method.forward(views.on_device(batch), training=True)
    labels = method.assign(outputs, index)
    np.testing.assert_array_equal(labels.clusters[:8, :, 0], labels.current[:8])


@pytest.mark.parametrize(
    "of_labels, of_centroids",
    [*(slow(*case) for case in OTHERS_OF_TABLE_2[:2]), OTHERS_OF_TABLE_2[2]],
)
def test_other_labels_and_centroids_of_table_2(eager, of_labels, of_centroids):
    method = contract_run.build(
        "coke",
        loss_labels=of_labels,
        loss_centroids=of_centroids,
        **PUBLISHED,
    )
    views = contract_run.views()
    method.fit(views, steps=6)
    batch = next(iter(views.batches(1, start_step=2)))
    outputs = method.forward(views.on_device(batch), training=True)
    labels = method.assign(outputs, batch["index"])
    last = method.labels.rows.numpy()[batch["index"]]
    wanted = labels.current if of_labels == "current" else last
    np.testing.assert_array_equal(labels.clusters[..., 0], wanted)
    assert (labels.current.numpy() != last).any()
    centroids = getattr(method.online_clusters[1], of_centroids).numpy()
    scores = outputs.units.numpy() @ centroids
    np.testing.assert_allclose(outputs.scores[1], scores, atol=1e-6)


def test_second_stage_is_refused_beside_current_labels():
    with pytest.raises(ValueError, match="loss_labels=current"):
        contract_run.build("coke", loss_labels="current")


def test_begin_epoch_twice_changes_nothing(eager):
    method, views = contract_run.build("coke"), contract_run.views()
    method.fit(views, epochs=1)
    states = []
    for _ in range(2):
        method.begin_epoch(1)
        states.append(method.state())
    last = method.online_clusters[0].last.numpy()
    np.testing.assert_array_equal(last, method.online_clusters[0].current)
    assert not method.online_clusters[0].counts.numpy().any()
    for key, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][key], err_msg=key)


def test_small_crops_influence_neither_labels_nor_clusters(eager):
    method = contract_run.build("coke", **PUBLISHED)
    views = contract_run.views(**MULTI_CROP)
    method.fit(views, steps=1)
    batch = next(iter(views.batches(0, start_step=1)))
    outputs = method.forward(views.on_device(batch), training=False)
    large = outputs.units[:2].numpy().mean(axis=0)
    np.testing.assert_allclose(method._rows(outputs), large, atol=1e-6)
    labels = method.assign(outputs, batch["index"])
    for head, clusters in enumerate(method.online_clusters):
        scores = large @ clusters.current.numpy() + clusters.duals.numpy()
        np.testing.assert_array_equal(
            labels.current[:, head], scores.argmax(axis=1)
        )


def test_prediction_head_can_be_left_out(eager):
    method = contract_run.build("coke", prediction_head=False)
    assert not hasattr(method, "predictor")
    views = contract_run.views()
    method.fit(views, steps=1)
    batch = next(iter(views.batches(0)))
    outputs = method.forward(views.on_device(batch), training=False)
    assert len(outputs.scores) == 2


def test_each_view_has_its_own_batch_statistics():
    method, views = contract_run.build("coke"), contract_run.views()
    method.prepare(views)
    images = views.on_device(next(iter(views.batches(0))))
    both = method.forward(images, training=True)
    alone = method.forward((images[0][1:],), training=True)
    np.testing.assert_allclose(both.units[1], alone.units[0], atol=1e-6)
    np.testing.assert_allclose(both.scores[3][1], alone.scores[3][0], atol=1e-6)


def smallest_cluster(min_share):
    """Images in the smallest cluster after training on 256 digits, N / K = 32.

    The plain loops keep this promise at a like size in test_online_kmeans.
    """
    method = contract_run.build(
        "coke",
        rate=0.01,
        num_clusters=8,
        min_share=min_share,
        **PUBLISHED,
    )
    views = contract_run.views(num_images=256, batch_size=32, **SINGLE)
    method.fit(views, epochs=12)
    return np.bincount(method.labels.rows[:, 0], minlength=8).min()


@pytest.mark.slow
def test_smallest_cluster_holds_to_its_share():
    smallest = {share: smallest_cluster(share) for share in (1.0, 0.4, 0.0)}
    assert smallest[1.0] >= 0.7 * 32
    assert smallest[0.4] >= 0.7 * 0.4 * 32
    assert smallest[0.0] < 0.5 * smallest[0.4]
