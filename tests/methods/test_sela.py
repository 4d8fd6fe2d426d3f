"""SeLa against plain NumPy, and its own promises."""

import functools

import numpy as np
import pytest

from tests.support import contract_run, oracles
from tests.support.marks import slow
from tfclust.methods.sela import balanced_start, label_steps
from tfclust.ops.kmeans import kmeans
from tfclust.runs.loading import RememberedViews


def as_float64(views, batch):
    return [x.numpy().astype(np.float64) for x in views.on_device(batch)]


def oracle_logits(parameters, images):
    """A list over heads of `[B, K]`."""
    rows = np.maximum(oracles.features(parameters, images), 0)
    weights = parameters[2:]  # kernels and biases in turn
    return [rows @ weights[i] + weights[i + 1] for i in (0, 2)]


def oracle_labels(parameters, views, power, step):
    """Labels `[N, H]` from augmented first views."""
    labels = np.zeros([64, 2], np.int64)
    logits = [np.zeros([64, 5]) for _ in range(2)]
    for batch in views.extraction_batches(
        "train", batch_size=32, draw=step, shuffle=True
    ):
        images = as_float64(views, batch)[0][0]
        for head, found in enumerate(oracle_logits(parameters, images)):
            logits[head][batch["index"].numpy()] = found
    for head in range(2):
        q = oracles.transport(oracles.log_softmax(logits[head]), power)
        labels[:, head] = q.argmax(axis=1)
    return labels


def oracle_loss(parameters, views, labels):
    total = 0.0
    for images in views[0]:
        for head, logits in enumerate(oracle_logits(parameters, images)):
            log_probs = oracles.log_softmax(logits)
            picked = log_probs[np.arange(len(labels)), labels[:, head]]
            total -= picked.mean() / 2 / len(views[0])
    return total


def test_three_steps_and_a_reassignment_match_numpy_within_1e_4():
    method = contract_run.build(
        "sela",
        rate=0.03,
        label_schedule="even",
        num_label_steps=4,  # due at steps 0, 2, 4 and 6
        label_tolerance=1e-6,
    )
    views = contract_run.views(batch_size=32)
    method.prepare(views)
    parameters = oracles.initial_parameters(method)
    buffers = [np.zeros_like(p) for p in parameters]
    losses = []
    for step in range(3):
        if step in (0, 2):
            power = method.config.sinkhorn_lambda
            labels = oracle_labels(parameters, views, power, step)
        epoch, first = divmod(step, 2)
        batch = next(iter(views.batches(epoch, start_step=first)))
        loss = functools.partial(
            oracle_loss,
            views=as_float64(views, batch),
            labels=labels[batch["index"].numpy()],
        )
        losses.append(loss(parameters))
        gradients = oracles.gradient(loss, parameters)
        oracles.sgd(
            parameters, gradients, buffers, rate=0.03, momentum=0.9, decay=1e-4
        )
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


@pytest.mark.slow
def test_clusters_are_filled_alike_by_the_oracle_and_by_the_method():
    # Six pooled features tell little apart: only a hard Q rounds evenly.
    power = 1000.0
    method = contract_run.build("sela", num_clusters=8, sinkhorn_lambda=power)
    views = contract_run.views(num_images=512, batch_size=64)
    method.fit(views, steps=2)
    rows = method.extract("projections", views="train", training=True)[:, 0]
    (dense,) = method.classifier.heads
    logits = np.float64(rows) @ dense.kernel.numpy() + dense.bias.numpy()
    # Most images go to few clusters before the label step.
    assert np.bincount(logits.argmax(axis=1), minlength=8).max() > 128
    q = oracles.transport(oracles.log_softmax(logits), power)
    counts = np.bincount(q.argmax(axis=1), minlength=8)
    assert np.abs(counts / 64 - 1).max() <= 0.2
    method.reassign(method.extract)
    counts = np.bincount(method.labels.rows[:, 0], minlength=8)
    assert np.abs(counts / 64 - 1).max() <= 0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("knobs", "most"),  # of 1.6; masses off by the tolerance leave as much
    [slow({}, 1e-4), ({"label_tolerance": 1e-7}, 1e-7)],
    ids=["default", "1e-7"],
)
def test_the_joint_objective_never_rises_at_the_label_steps_of_a_run(
    knobs, most
):
    """The last labels' Q against the new one's, on features of now."""
    power = 3.0
    method = contract_run.build("sela", rate=0.5, num_label_steps=10, **knobs)
    last, changes = {}, []

    def recorded(extract, reassign=method.reassign):
        passes = []

        def kept(*what, **how):
            passes.append(extract(*what, **how))
            return passes[-1]

        reassign(kept)
        (rows,) = (found[:, 0] for found in passes)
        for head, dense in enumerate(method.classifier.heads):
            logits = np.float64(rows) @ dense.kernel.numpy()
            probs = oracles.log_softmax(logits + dense.bias.numpy())
            q = power * probs + method.balance.log_r(head)
            q = np.exp(oracles.log_softmax(q)) / len(rows)
            now = oracles.joint_objective(probs, q, power)
            if head in last:
                before = oracles.joint_objective(probs, last[head], power)
                changes.append(now - before)
            last[head] = q

    method.reassign = recorded
    method.fit(contract_run.views(), epochs=3)
    assert len(changes) > 10
    assert max(changes) < most
    assert min(changes) < -1e-2


def test_labels_start_balanced_at_random_and_unlike_by_head():
    starts = [balanced_start(103, 10, seed=(0, head)) for head in range(2)]
    for start in starts:
        assert set(np.bincount(start)) == {10, 11}
    assert np.mean(starts[0] == starts[1]) < 0.3
    np.testing.assert_array_equal(
        starts[0], balanced_start(103, 10, seed=(0, 0))
    )
    method = contract_run.build("sela")
    method.prepare(contract_run.views())
    expected = balanced_start(64, 5, seed=(0, 1))
    np.testing.assert_array_equal(method.labels.rows[:, 1], expected)


def test_quadratic_label_times_are_the_sources():
    # main.py at ImageNet: (400 + 1.01) N (i / 99)^2 images seen.
    steps = sorted(
        label_steps(
            100, "quadratic", epochs=400, num_images=1_281_167, batch_size=256
        )
    )
    assert len(steps) == 100
    assert steps[:3] == [0, 205, 820]  # 204.8 and 819.1 batches
    gaps = np.diff(steps)
    assert np.all(np.diff(gaps) >= -1)
    assert gaps[-1] > 7 * 5004  # more than seven epochs at the end
    assert steps[-1] > 400 * 5004 > steps[-2]  # the last never comes


def test_even_label_times_come_about_once_an_epoch():
    steps = sorted(
        label_steps(400, "even", epochs=400, num_images=50_000, batch_size=128)
    )
    gaps = np.diff(steps)
    assert steps[0] == 0
    assert set(gaps) == {392, 393}  # an epoch has 390 whole batches


def test_label_times_between_the_same_two_steps_are_one_label_step():
    steps = label_steps(
        100, "quadratic", epochs=1, num_images=64, batch_size=16
    )
    assert steps == set(range(10))


def test_labels_change_within_an_epoch_when_they_are_due():
    method = contract_run.build("sela", num_label_steps=5)
    views = contract_run.views()
    before, labels = [], []

    def recorded(extract, reassign=method.reassign):
        before.append(int(method.step.numpy()))
        reassign(extract)
        labels.append(method.labels.rows.numpy())

    method.reassign = recorded
    method.fit(views, steps=8)  # an epoch has four
    # (2 + 1.01) 64 / 4^2 i^2 is 0, 12.04, 48.2, 108.4 images; of 16 a step.
    assert before == [0, 1, 4, 7]
    assert (labels[1] != labels[0]).any()


def test_cyclic_relabels_the_head_of_the_epoch_alone():
    method = contract_run.build(
        "sela", relabel="cyclic", num_clusters=(5, 5, 5), num_label_steps=1
    )
    views = contract_run.views()
    method.fit(views, steps=1)
    for epoch in (1, 2, 3):
        before = method.labels.rows.numpy()
        method.epoch.assign(epoch)
        method.step.assign_add(1)
        method.reassign(method.extract)
        after = method.labels.rows.numpy()
        changed = (before != after).any(axis=0)
        assert not changed[[h for h in range(3) if h != epoch % 3]].any()
        assert changed[epoch % 3]


@pytest.mark.slow
def test_kmeans_may_take_the_place_of_sinkhorn():
    method = contract_run.build("sela", assignment="kmeans")
    method.fit(contract_run.views(), steps=1)
    method.reassign(method.extract)
    rows = method.extract("projections", views="train", training=True)[:, 0]
    for head in range(2):
        expected = kmeans(rows, 5, num_iters=20, seed=(0, 1, head))
        np.testing.assert_array_equal(
            method.labels.rows[:, head], expected.pseudo_labels
        )
    assert not method.balance.array.any()


def test_heads_read_features_behind_a_relu_unless_there_is_a_projector():
    method = contract_run.build("sela")
    views = contract_run.views()
    method.prepare(views)
    images = views.on_device(next(iter(views.batches(0))))
    outputs = method.forward(images, training=False)
    assert np.min(outputs.features) < 0
    np.testing.assert_array_equal(
        outputs.projections, np.maximum(outputs.features, 0)
    )
    method = contract_run.build("sela", projection_width=4, hidden_width=5)
    assert method.projection_width == 4
    method.prepare(views)
    assert np.min(method.forward(images, training=False).projections) < 0


def test_more_clusters_than_images_are_refused():
    method = contract_run.build("sela", num_clusters=65)
    with pytest.raises(ValueError, match="64 images cannot fill 65 clusters"):
        method.fit(contract_run.views(), steps=1)


@pytest.mark.slow
def test_labels_of_two_heads_at_20_000_images_equal_the_dense_loop():
    """On features given: 25 is ImageNet's lambda for fresh heads."""
    width, clusters, images, power = 16, 128, 20_000, 25.0
    method = contract_run.build(
        "sela",
        num_clusters=(clusters, clusters),
        projection_width=width,
        sinkhorn_lambda=power,
    )
    method.prepare(
        RememberedViews(
            num_images=images,
            batch_size=64,
            num_views=1,
            num_global_views=1,
            steps_per_epoch=images // 64,
            image_size=12,
            resize_size=12,
            seed=0,
        )
    )
    rng = np.random.default_rng(0)
    sources = rng.normal(size=(60, width))
    rows = sources[rng.integers(60, size=images)]
    rows = np.float32(rows + 0.7 * rng.normal(size=rows.shape))
    method.reassign(lambda what, **how: rows[:, None])
    for head, dense in enumerate(method.classifier.heads):
        logits = np.float64(rows) @ dense.kernel.numpy() + dense.bias.numpy()
        q = oracles.transport(
            oracles.log_softmax(logits), power, tolerance=1e-7
        )
        labels = method.labels.rows.numpy()[:, head]
        assert np.mean(labels == q.argmax(axis=1)) >= 0.999
        counts = np.bincount(labels, minlength=clusters)
        assert np.abs(counts * clusters / images - 1).max() <= 0.2
    figures = method.figures()
    assert figures["label_mass_error"] <= 0.01
    assert figures["smallest_label_cluster"] >= 0.8 * images / clusters


def test_passes_that_end_early_are_reported():
    method = contract_run.build("sela", label_iters=1, sinkhorn_lambda=1000.0)
    method.fit(contract_run.views(), steps=1)
    assert method.figures()["label_mass_error"] > 0.01
