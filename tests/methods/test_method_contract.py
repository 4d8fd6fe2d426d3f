"""What every method promises, whatever its algorithm."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.methods.cases import CASES, CLUSTERING, NUM_CLUSTERS
from tests.support import contract_run, processes
from tests.support.marks import slow
from tfclust import methods, options
from tfclust.engine.losses import global_mean
from tfclust.runtime import devices

NAMES = [*CASES]


def test_every_method_is_held_to_the_contract():
    assert set(methods.METHODS) < set(CASES)


@pytest.fixture(params=NAMES, scope="module")
def name(request):
    return request.param


def on_methods(*quick, names=NAMES):
    """A test of each method, which `make test` runs on the `quick` ones."""
    return pytest.mark.parametrize(
        "name", [n if n in quick else slow(n) for n in names]
    )


@pytest.fixture(scope="module")
def whole(name):
    """`contract_run.Whole` of the method; a test puts it where it needs it.

    One graph serves all promises on a trained method: tracing it takes as long
    as a hundred of its steps.
    """
    return contract_run.Whole(lambda: contract_run.build(name), secret_views)


def secret_views():
    """Views of images whose labels nobody may look at."""
    source = SecretLabels(contract_run.digits(64))
    return contract_run.two_views(source, batch_size=16)


class SecretLabels:
    """A source without its labels."""

    def __init__(self, source):
        self._source = source

    def __getattr__(self, name):
        assert name != "labels", "training reads labels"
        return getattr(self._source, name)


def test_forward_shapes(name, whole):
    method, views = whole.at(4)
    batch = next(iter(views.batches(0)))
    outputs = method.forward(views.on_device(batch), training=True)
    assert outputs.features.shape == (2, 16, 6)
    width = CASES[name].knobs.get("projection_width") or 6
    assert outputs.projections.shape == (2, 16, width)
    assert outputs.units.shape == (2, 16, width)
    if name not in CLUSTERING:
        assert outputs.scores == ()
        return
    assert len(outputs.scores) % len(method.config.num_clusters) == 0
    for scores in outputs.scores:
        assert scores.shape == (2, 16, NUM_CLUSTERS)


def views_of_two_sizes():
    return contract_run.views(
        view_sizes=(12, 8),
        num_views=(2, 3),
        view_scales=((0.4, 1.0), (0.2, 0.4)),
    )


@on_methods()
def test_views_of_two_sizes_train(name):
    method = contract_run.build(name)
    before = method.backbone.get_weights()
    (loss,) = method.fit(views_of_two_sizes(), steps=1).history["loss"]
    assert np.isfinite(loss)
    for old, new in zip(before, method.backbone.get_weights(), strict=True):
        assert np.abs(old - new).max() > 0


def test_views_of_two_sizes_keep_their_order_and_shapes(name):
    method, views = contract_run.build(name), views_of_two_sizes()
    method.prepare(views)
    images = views.on_device(next(iter(views.batches(0))))
    outputs = method.forward(images, training=False)
    assert outputs.features.shape == (5, 16, 6)
    # Without batch statistics a view's features depend on that view alone.
    alone = method.backbone(images[1][2], training=False)
    np.testing.assert_allclose(outputs.features[4], alone, atol=1e-6)


def test_one_step_moves_the_backbone(name, whole):
    before = contract_run.build(name).backbone
    after = whole.at(1)[0].backbone
    for old, new in zip(
        before.trainable_variables, after.trainable_variables, strict=True
    ):
        assert np.abs(old.numpy() - new.numpy()).max() > 0


def test_no_gradient_through_targets(whole):
    method, views = whole.at(4)
    batch = next(iter(views.batches(1)))
    images = views.on_device(batch)
    with tf.GradientTape(persistent=True) as tape:
        outputs = method.forward(images, training=True)
        targets = method.targets(outputs, batch["index"], images)
        frozen = tf.nest.map_structure(
            lambda x: tf.constant(x.numpy()), targets
        )
        loss = global_mean(method.example_losses(outputs, frozen))
    expected = tape.gradient(loss, method.backbone.trainable_variables)

    class Recorder:
        def apply(self, gradients, variables):
            self.gradients = gradients

        def scale_loss(self, loss):
            return loss

    kept, method.optimizer = method.optimizer, Recorder()
    method.train_step(batch)
    recorder, method.optimizer = method.optimizer, kept
    got = recorder.gradients[: len(expected)]
    places = [v.path for v in method.trainable_variables]
    wanted = [v.path for v in method.backbone.trainable_variables]
    assert places[: len(wanted)] == wanted
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8)


@on_methods()
def test_compiled_step_equals_the_plain_one(name):
    states = []
    for jit_compile in (False, True):
        method = contract_run.build(name, jit_compile=jit_compile)
        method.fit(contract_run.views(), epochs=1)
        assert _is_compiled(method) == jit_compile
        states.append(method.state())
    contract_run.assert_close(*states)


def test_a_source_in_place_of_views_is_met_with_the_way_out():
    method = contract_run.build("swav")
    with pytest.raises(TypeError, match=r"Received: ArraySource.*Views\("):
        method.fit(contract_run.digits(16), epochs=1)


def test_a_method_without_an_optimizer_says_how_to_compile_it():
    method = methods.SwAV(contract_run.tiny_backbone(), num_clusters=5)
    with pytest.raises(ValueError, match=r"Write method\.compile\("):
        method.fit(contract_run.views(), epochs=1)


@pytest.mark.parametrize("wrapped", [False, True])
def test_optimizer_that_accumulates_gradients_is_refused(wrapped):
    method = contract_run.build("swav")
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=4)
    if wrapped:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    with pytest.raises(ValueError, match="gradient_accumulation_steps=4"):
        method.compile(optimizer=optimizer)


def test_saved_and_resumed_equals_never_stopped(whole):
    """With images whose labels nobody may look at."""
    whole.assert_goes_on()


def test_state_of_another_model_is_refused_by_name(whole):
    method, _ = whole.at(4)
    state = method.state()
    state["stray"] = np.zeros(1)
    del state["step"]
    with pytest.raises(ValueError, match=r"missing \['step'\].*\['stray'\]"):
        method.load_state(state)


@on_methods()
def test_no_label_reaches_training(name):
    states = []
    for labels in (np.zeros(32, np.int64), np.arange(32)):
        source = contract_run.digits(32, labels)
        views = contract_run.two_views(source, batch_size=16)
        assert set(next(iter(views.batches(0)))) == {
            "views",
            "photometric",
            "index",
        }
        method = contract_run.build(name)
        method.fit(views, epochs=1)
        states.append(method.state())
    for key, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][key], err_msg=key)


@on_methods()
def test_loss_falls_on_24_images(name):
    case = CASES[name]
    hard = {"augmentation": "swav"}
    easy = {"view_scales": ((1.0, 1.0),)} if case.calm_images else hard
    knobs = {"projection_width": 16, "hidden_width": 32, **case.calm}
    method = contract_run.build(name, **{"rate": 0.1, **knobs})
    views = contract_run.views(num_images=24, batch_size=12, **easy)
    losses = method.fit(views, epochs=20).history["loss"]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])


def test_config_survives_its_spelling(name):
    config = contract_run.build(name).config
    kinds = options.kinds(type(config))
    words = {k: options.text(getattr(config, k)) for k in kinds}
    read = {k: options.parse(words[k], kind) for k, kind in kinds.items()}
    assert type(config)(**read) == config


@pytest.mark.parametrize(
    ("name", "counts"),
    [("swav", (1, 2)), *(slow(name, (1, 2, 4)) for name in NAMES)],
)
def test_replicas_of_a_batch_equal_one(name, counts, tmp_path):
    """With batch norm in the backbone, whose statistics span the replicas.

    A run also goes on from one to the most, and from these to one.
    """
    output = tmp_path / "states.npz"
    arguments = ["-m", "tests.support.contract_run", name, output, *counts]
    done = processes.run(arguments, timeout=500)
    assert done.returncode == 0, done.stderr[-5000:]
    states = contract_run.read_states(output)
    for several in map(str, counts[1:]):
        for key, array in states["1"].items():
            if key.startswith("codes/"):
                np.testing.assert_array_equal(
                    array, states[several][key], err_msg=key
                )
        contract_run.assert_close(states["1"], states[several])
    ends = [run for run in states if " from " in run]
    assert {int(states[run]["step"]) for run in ends} == {12}
    most = counts[-1]
    contract_run.assert_close(states["1 from 1"], states[f"{most} from 1"])
    contract_run.assert_close(
        states[f"{most} from {most}"], states[f"1 from {most}"]
    )


def test_clusterer_assigns_as_the_scores_do(name, whole):
    from tfclust.ops.clusterer import assign

    method, views = whole.at(4)
    if name not in CLUSTERING:
        assert not hasattr(method, "clusterer")
        return
    images = views.on_device(next(iter(views.batches(0))))
    outputs = method.forward(images, training=False)
    clusterers = method.clusterer()
    assert len(clusterers) == len(method.config.num_clusters)
    assigning = CASES[name].assigning
    for head, clusterer in enumerate(clusterers):
        by_cluster = outputs.scores[head][0]
        if assigning is not None:
            by_cluster = assigning(method, head, outputs)
        cluster, score = assign(clusterer, outputs.projections[0])
        np.testing.assert_array_equal(cluster, np.argmax(by_cluster, axis=-1))
        np.testing.assert_allclose(
            score, np.max(by_cluster, axis=-1), rtol=1e-5, atol=1e-6
        )


def _is_compiled(method):
    """Whether XLA compiles the step: a call that changes variables."""
    batch = next(iter(method.views.batches(0)))
    graph = method.train_function.get_concrete_function(batch).graph
    return any(
        operation.type == "StatefulPartitionedCall"
        and operation.node_def.attr["_XlaMustCompile"].b
        for operation in graph.get_operations()
    )


@on_methods(names=methods.METHODS)
def test_half_precision_trains_as_float32_does(name):
    """Fifty steps; convolutions alone are in half precision."""
    losses, weights, states = {}, {}, {}
    # At a tenth, cosines of a tiny net's six features are all but a rounding.
    config = methods.METHODS[name].Config
    knobs = {"temperature": 1.0} if hasattr(config, "temperature") else {}
    for precision in ("none", "bfloat16", "float16"):
        with devices.precision(precision):
            # A lower rate: labels differ where features nearly tie.
            method = contract_run.build(
                name, rate=0.005, batch_norm=True, **knobs
            )
        views = contract_run.views(num_images=200, augmentation="swav")
        method.prepare(views)
        start = _backbone_weights(method)
        losses[precision] = method.fit(views, steps=50).history["loss"]
        weights[precision] = _backbone_weights(method)
        states[precision] = method.state()
        compute = {layer.compute_dtype for layer in method.backbone.layers}
        assert (precision in compute) == (precision != "none")
        images = views.on_device(next(iter(views.batches(0))))
        for array in tf.nest.flatten(method.forward(images, training=True)):
            assert array.dtype == "float32"
    for precision in ("bfloat16", "float16"):
        # Statistics, memories, weights and slots are kept as without it.
        for key, array in states["none"].items():
            if not key.startswith("optimizer/"):  # float16 scales its loss
                half = states[precision][key]
                assert half.dtype == array.dtype, key
        for key, array in states[precision].items():
            assert np.isfinite(array).all(), key
        got, expected = losses[precision], losses["none"]
        # Eight bits of a convolution; labels that follow from it may differ.
        np.testing.assert_allclose(got[0], expected[0], rtol=0.05)
        np.testing.assert_allclose(np.mean(got), np.mean(expected), rtol=0.1)
    # Three bits more show that it is rounding: weights end near float32's.
    parted, moved = (
        np.linalg.norm(weights["none"] - other)
        for other in (weights["float16"], start)
    )
    # A label of CoKe's that flips moves duals, one of ODC's centroids, and with
    # them further labels. Strangers would be 1.4 apart.
    assert parted < {"coke": 0.8, "odc": 0.9}.get(name, 0.3) * moved


def _backbone_weights(method):
    """All that is trained in the backbone, in one row."""
    variables = method.backbone.trainable_variables
    return np.concatenate([np.ravel(v.numpy()) for v in variables])
