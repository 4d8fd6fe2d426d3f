"""CoKe against plain NumPy, and its own promises."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support import contract_run, oracles, oracles_online
from tests.support.marks import slow
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


def normed(x, gamma, beta):
    centred = x - x.mean(axis=0)
    return centred / np.sqrt(x.var(axis=0) + oracles.BN_EPSILON) * gamma + beta


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


class Network:
    """Units `[V, B, D]` of projector and prediction head, each view alone.

    Features are kept while the convolution stays as it is: differences of the
    heads' parameters need them unchanged.
    """

    def __init__(self, views):
        self.views = [image for size in views for image in size]
        self.known, self.features = None, None

    def __call__(self, parameters):
        known = [p.copy() for p in parameters[:2]]
        if self.known is None or any(
            not np.array_equal(a, b)
            for a, b in zip(known, self.known, strict=True)
        ):
            self.known = known
            self.features = [
                oracles.features(parameters, images) for images in self.views
            ]
        branches = [self.heads(parameters[2:], f) for f in self.features]
        return [np.stack(rows) for rows in zip(*branches, strict=True)]

    @staticmethod
    def heads(p, rows):
        for at in (0, 4):  # linear, BN, ReLU, twice
            rows = normed(rows @ p[at] + p[at + 1], p[at + 2], p[at + 3])
            rows = np.maximum(rows, 0)
        raw = normed(rows @ p[8] + p[9], p[10], p[11])
        hidden = normed(raw @ p[12] + p[13], p[14], p[15])
        prediction = np.maximum(hidden, 0) @ p[16] + p[17]
        return unit(raw), unit(prediction)


def cross_entropy(target, scores, temperature):
    """`[B]` of a target and scores `[B, K]`."""
    return -(target * oracles.log_softmax(scores / temperature)).sum(axis=-1)


def published_loss(branches, named, centroids, labels, config):
    """The mean loss, as the source's scripts for one view, two, and crops.

    Args:
      branches: units `[V, B, D]` of the projector and the prediction head.
      named: those of the projector that others name, held still.
      centroids: `[D, K]` by head. labels: `[B, K]` by head.
    """
    alpha, beta = config.label_weight, config.prediction_weight
    tau = config.temperature
    total = 0.0
    for c, y in zip(centroids, labels, strict=True):
        soft = [np.exp(oracles.log_softmax(z @ c / tau)) for z in named]
        for o, weight in zip(branches, (1 - beta, beta), strict=True):
            hard = [cross_entropy(y, view @ c, tau) for view in o]
            loss = hard[0]
            if len(o) > 1:
                swapped = [
                    cross_entropy(soft[1 - v], o[v] @ c, tau) for v in (0, 1)
                ]
                loss = alpha * sum(hard[:2]) + (1 - alpha) * sum(swapped)
                loss = loss / 2
            if len(o) > 2:
                small = 0.0
                for v in range(2, len(o)):
                    both = cross_entropy(soft[0] + soft[1], o[v] @ c, tau)
                    small += 2 * alpha * hard[v] + (1 - alpha) * both
                loss = 0.5 * loss + 0.5 * small / (2 * (len(o) - 2))
            total += weight * loss.mean() / len(centroids)
    return total


class Oracle:
    """Training steps of CoKe on 64 images in batches of 32."""

    def __init__(self, method, rates):
        self.method, self.config, self.rates = method, method.config, rates
        self.parameters = oracles.initial_parameters(method)
        self.buffers = [np.zeros_like(p) for p in self.parameters]
        self.clusters = [
            oracles_online.Clusters(
                clusters.last.numpy(), dual_step=0.02, min_share=0.4
            )
            for clusters in method.clusters
        ]
        self.labels = np.full((64, len(self.clusters)), -1)
        self.votes = [[[] for _ in range(64)] for _ in self.clusters]
        self.losses = []
        self.relabelled = 0  # labels that are not last epoch's

    def begin_epoch(self, epoch):
        """Epochs of the second stage count in a mean over epochs."""
        stage = self.config.second_stage_epoch
        past = None if stage is None else epoch - stage  # those in the mean
        for clusters in self.clusters if epoch else ():
            clusters.next_epoch(1 / past if past and past > 0 else None)

    def step(self, epoch, index, views):
        stage = self.config.second_stage_epoch
        second_stage = stage is not None and epoch >= stage
        network = Network(views)
        named = network(self.parameters)[0].copy()
        rows = named[: self.method.large_views].mean(axis=0)
        current = np.stack(
            [c.assign(rows, second_stage=second_stage) for c in self.clusters],
            axis=-1,
        )
        targets = self.targets(index, current)
        centroids = [
            getattr(c, self.config.loss_centroids).copy() for c in self.clusters
        ]

        def loss(parameters):
            return published_loss(
                network(parameters), named, centroids, targets, self.config
            )

        self.losses.append(loss(self.parameters))
        oracles.sgd(
            self.parameters,
            oracles.gradient(loss, self.parameters),
            self.buffers,
            rate=self.rates[len(self.losses) - 1],
            momentum=0.9,
            decay=1e-4,
        )
        for head, clusters in enumerate(self.clusters):
            clusters.update(rows, current[:, head], second_stage=second_stage)
            for image, label in zip(index, current[:, head], strict=True):
                if second_stage:
                    self.votes[head][image] = oracles_online.add_vote(
                        self.votes[head][image], label, 1 / (epoch - stage + 1)
                    )
        self.labels[index] = current

    def targets(self, index, current):
        """Last epoch's labels `[B, K]` by head, soft where there are votes."""
        targets = []
        for head, votes in enumerate(self.votes):
            num_clusters = self.config.num_clusters[head]
            last = self.labels[index, head]
            moved = (last >= 0) & (last != current[:, head])
            self.relabelled += moved.sum()
            if self.config.loss_labels == "current":
                last = current[:, head]
            last = np.where(last >= 0, last, current[:, head])
            target = np.eye(num_clusters)[last]
            for row, image in enumerate(index):
                if votes[image]:
                    target[row] = oracles_online.soft_label(
                        votes[image], num_clusters
                    )
            targets.append(target)
        return targets

    def check(self):
        method = self.method
        for variable, value in zip(
            method.trainable_variables, self.parameters, strict=True
        ):
            np.testing.assert_allclose(
                variable, value, atol=1e-4, err_msg=variable.path
            )
        for ours, loops in zip(method.clusters, self.clusters, strict=True):
            for name in ("last", "current", "duals"):
                np.testing.assert_allclose(
                    getattr(ours, name),
                    getattr(loops, name),
                    atol=1e-4,
                    err_msg=name,
                )
            np.testing.assert_array_equal(ours.counts, loops.counts)
        np.testing.assert_array_equal(method.labels.rows, self.labels)


def assert_steps_match(method, views, rates):
    """Runs the method and the oracle side by side, two steps an epoch."""
    method.prepare(views)
    oracle = Oracle(method, rates)
    for step in range(len(rates)):
        epoch, first = divmod(step, 2)
        if first == 0:
            oracle.begin_epoch(epoch)
        batch = next(iter(views.batches(epoch, start_step=first)))
        images = [x.numpy().astype(float) for x in views.on_device(batch)]
        oracle.step(epoch, batch["index"].numpy(), images)
    history = method.fit(views, steps=len(rates))
    expected = [
        np.mean(oracle.losses[i : i + 2]) for i in range(0, len(rates), 2)
    ]
    # float32 against float64: a few steps stay well within 1e-4.
    np.testing.assert_allclose(history.history["loss"], expected, atol=1e-4)
    oracle.check()
    return oracle


def test_three_steps_of_views_and_crops_match_numpy_within_1e_4():
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
def test_table_2_matches_numpy_within_1e_4(of_labels, of_centroids):
    method = contract_run.build(
        "coke",
        rate=0.03,
        loss_labels=of_labels,
        loss_centroids=of_centroids,
        **PUBLISHED,
    )
    views = contract_run.views(batch_size=32, **SINGLE)
    oracle = assert_steps_match(method, views, rates=[0.03] * 4)
    assert oracle.relabelled > 8  # else the cases do not differ


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
    centroids = getattr(method.clusters[1], of_centroids).numpy()
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
    last = method.clusters[0].last.numpy()
    np.testing.assert_array_equal(last, method.clusters[0].current)
    assert not method.clusters[0].counts.numpy().any()
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
    for head, clusters in enumerate(method.clusters):
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
