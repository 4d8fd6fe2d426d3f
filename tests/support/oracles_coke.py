"""CoKe's training steps in plain NumPy."""

import numpy as np

from tests.support import oracles, oracles_online


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
            for clusters in method.online_clusters
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
        for ours, loops in zip(
            method.online_clusters, self.clusters, strict=True
        ):
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
