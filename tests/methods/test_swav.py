"""SwAV against plain NumPy, and its own promises."""

import numpy as np
import pytest
import tensorflow as tf

from tests.support import contract_run, oracles
from tfclust.methods.swav import swapped_loss

MULTI_CROP = {
    "view_sizes": (12, 8),
    "num_views": (2, 1),
    "view_scales": ((0.4, 1.0), (0.2, 0.4)),
}


def oracle_step(parameters, buffers, views, queues, config, frozen, epsilon):
    """One SwAV step; returns the loss, the new queues and the spread."""

    def unit_scores(parameters):
        units = oracles.units(parameters, views)
        return units, units @ parameters[-1]

    units, scored = unit_scores(parameters)
    large = scored[:2].reshape(-1, scored.shape[-1])  # [2B, K]
    about = large - large.mean(1, keepdims=True)
    spread = np.std(about - about.mean(0))
    codes = []
    for view in range(2):
        rows = units[view]
        if queues[view] is not None:
            rows = np.concatenate([queues[view], rows])
        scores = rows @ parameters[-1]
        code = oracles.sinkhorn(scores, epsilon, config.sinkhorn_iters)
        codes.append(code[-len(units[view]) :])

    def loss(parameters):
        log_probs = oracles.log_softmax(
            unit_scores(parameters)[1] / config.temperature
        )
        total = 0.0
        for code_view in range(2):
            for view in range(3):
                if view != code_view:
                    crossed = -(codes[code_view] * log_probs[view]).sum(-1)
                    total += crossed.mean() / 2 / 2
        return total

    value = loss(parameters)
    gradients = oracles.gradient(loss, parameters)
    moved = slice(None, -1) if frozen else slice(None)
    oracles.sgd(
        parameters[moved],
        gradients[moved],
        buffers[moved],
        rate=0.03,
        momentum=0.9,
        decay=1e-4,
    )
    parameters[-1] /= np.linalg.norm(parameters[-1], axis=0)
    return value, [units[0], units[1]], spread


@pytest.mark.parametrize("epsilon", [0.05, None], ids=["given", "fitted"])
def test_three_steps_match_numpy_within_1e_4(eager, epsilon):
    method = contract_run.build(
        "swav",
        rate=0.03,
        queue_rows=64,
        freeze_steps=1,
        queue_start_epoch=1,
        epsilon=epsilon,
    )
    views = contract_run.views(batch_size=64, **MULTI_CROP)
    method.prepare(views)
    parameters = oracles.initial_parameters(method)
    buffers = [np.zeros_like(p) for p in parameters]
    queues, losses, now = [None, None], [], 0.05
    for step in range(3):  # an epoch each: frozen, filling, with the queue
        images = views.on_device(next(iter(views.batches(step))))
        images = [size.numpy().astype(np.float64) for size in images]
        loss, newest, spread = oracle_step(
            parameters, buffers, images, queues, method.config, step < 1, now
        )
        losses.append(loss)
        if epsilon is None:
            newest_epsilon = min(0.05, 0.2 * spread)
            kept = 0.9 if step else 0.0
            now = now**kept * newest_epsilon ** (1 - kept)
        queues = newest if step >= 1 else [None, None]
    history = method.fit(views, epochs=3)
    # float32 against float64: three steps stay well within 1e-4.
    np.testing.assert_allclose(history.history["loss"], losses, atol=1e-4)
    for variable, value in zip(
        method.trainable_variables, parameters, strict=True
    ):
        np.testing.assert_allclose(
            variable, value, atol=1e-4, err_msg=variable.path
        )
    np.testing.assert_allclose(method.queue_1.features, queues[1], atol=1e-4)
    if epsilon is None:
        assert now < 0.05
        np.testing.assert_allclose(method.epsilon.values, [now], rtol=1e-3)


def test_a_view_never_predicts_its_own_code():
    log_probs = np.log(np.float32([[[0.5, 0.5]], [[0.9, 0.1]]]))
    codes = [np.float32([[1.0, 0.0]]), np.float32([[0.0, 1.0]])]
    expected = (-np.log(0.9) - np.log(0.5)) / 2
    np.testing.assert_allclose(
        swapped_loss(log_probs, codes), [expected], rtol=1e-6
    )


def test_prototypes_stay_still_for_freeze_steps_then_move():
    method = contract_run.build("swav", freeze_steps=3)
    (kernel,) = method.prototypes.kernels
    start = kernel.numpy()
    views = contract_run.views()
    method.fit(views, steps=3)
    np.testing.assert_allclose(kernel, start, atol=1e-6)
    method.fit(views, steps=4, start_step=3)
    assert np.abs(kernel.numpy() - start).max() > 1e-4


def test_prototypes_stay_at_unit_norm():
    method = contract_run.build("swav", freeze_steps=0)
    method.fit(contract_run.views(), epochs=1)
    norms = np.linalg.norm(method.prototypes.kernels[0], axis=0)
    np.testing.assert_allclose(norms, 1, atol=1e-6)


def test_queue_is_used_only_when_full():
    method = contract_run.build("swav", queue_rows=32, queue_start_epoch=0)
    views = contract_run.views()
    method.prepare(views)
    units = tf.math.l2_normalize(tf.random.normal([16, 4], seed=1), axis=-1)
    alone = method._balance(units)[0].numpy()
    older = tf.math.l2_normalize(tf.random.normal([32, 4], seed=2), axis=-1)
    method.queue_0.push(older[:16], when=True)
    np.testing.assert_array_equal(method._codes(units, 0)[0], alone)
    method.queue_0.push(older[16:], when=True)
    both = tf.concat([older[16:], older[:16], units], axis=0)
    expected = method._balance(both)[0][-16:]
    codes = method._codes(units, 0)[0].numpy()
    np.testing.assert_allclose(codes, expected, rtol=1e-6)
    assert np.abs(codes - alone).max() > 1e-3


def test_queue_is_scored_with_current_prototypes():
    method = contract_run.build("swav", queue_rows=16, queue_start_epoch=0)
    method.prepare(contract_run.views())
    rows = tf.math.l2_normalize(tf.random.normal([32, 4], seed=1), axis=-1)
    method.queue_0.push(rows[:16], when=True)
    before = method._codes(rows[16:], 0)[0].numpy()
    (kernel,) = method.prototypes.kernels
    kernel.assign(kernel.numpy()[:, ::-1])
    after = method._codes(rows[16:], 0)[0].numpy()
    np.testing.assert_allclose(after, before[:, ::-1], rtol=1e-4)


def test_queue_starts_at_its_epoch():
    method = contract_run.build("swav", queue_rows=32, queue_start_epoch=1)
    views = contract_run.views()
    method.fit(views, epochs=1)
    assert int(method.queue_0.filled) == 0
    method.fit(views, steps=5, start_step=4)
    assert int(method.queue_0.filled) == 16


def test_hard_codes_are_one_hot():
    method = contract_run.build("swav", hard_codes=True, queue_rows=0)
    method.prepare(contract_run.views())
    units = tf.math.l2_normalize(tf.random.normal([16, 4], seed=1), axis=-1)
    codes = method._codes(units, 0)[0].numpy()
    np.testing.assert_array_equal(np.sort(codes, axis=1)[:, -1], 1)
    np.testing.assert_array_equal(codes.sum(axis=1), 1)


def test_several_heads_average_their_losses():
    method = contract_run.build("swav", num_clusters=(5, 7))
    assert [k.shape for k in method.prototypes.kernels] == [(4, 5), (4, 7)]
    method.prepare(contract_run.views())
    batch = next(iter(method.views.batches(0)))
    outputs = method.forward(method.views.on_device(batch), training=False)
    codes = method.assign(outputs, batch["index"])
    each = [
        swapped_loss(tf.nn.log_softmax(outputs.scores[head] / 0.1), codes[head])
        for head in range(2)
    ]
    both = method.example_losses(outputs, codes).loss
    np.testing.assert_allclose(both, (each[0] + each[1]) / 2, rtol=1e-6)


def test_a_queue_that_is_no_multiple_of_the_batch_is_refused():
    method = contract_run.build("swav", queue_rows=40)
    with pytest.raises(ValueError, match="queue_rows=40, batch_size=16.*32"):
        method.fit(contract_run.views(), steps=1)


def test_a_single_view_is_refused():
    method = contract_run.build("swav")
    with pytest.raises(ValueError, match="Received: 1"):
        method.fit(contract_run.views(num_views=(1,)), steps=1)
