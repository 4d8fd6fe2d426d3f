"""Passes of evaluation over replicas: the same rows in the same order."""

import json

import numpy as np
import pytest

from tests.support import small_runs
from tests.support.processes import run_in_subprocess

pytestmark = pytest.mark.slow
KINDS = ("one",), ("mirrored", 2)

PASSES = """
import numpy as np
import tensorflow as tf
from tests.evaluation.test_probes import coloured_source
from tests.support.detectors import tiny_backbone
from tfclust import evaluation
from tfclust.evaluation import EvaluationConfig, Subject
from tfclust.evaluation.protocols import filters
from tfclust.runtime import devices

strategy = devices.make_strategy(*{strategy})
with strategy.scope():
    model = tiny_backbone(2)
for layer in model.layers:  # statistics that are no constants
    if layer.name.endswith("_bn"):
        random = np.random.default_rng(0)
        layer.set_weights([random.uniform(0.5, 2, w.shape)
                           for w in layer.get_weights()])

def clusters(images):
    return tf.argmax(model(images, training=False), axis=1)

network = evaluation.keras_network(model, strategy=strategy, clusters=clusters)
found = {{"digest": network.digest}}
# The last batch has 3 of 10 rows; and there are fewer images than replicas.
for count in (23, 1):
    subject = Subject(network, coloured_source(count),
                      coloured_source(count, seed=1),
                      image_size=8, batch_size=10)
    found[f"train{{count}}"] = subject.train_features
    found[f"test{{count}}"] = subject.test_features
    found[f"crops{{count}}"] = subject.crop_features
    found[f"clusters{{count}}"] = subject.clusters(subject.test)
    config = EvaluationConfig(filter_images=3, filter_channels=3)
    for of in filters.run(subject, config)["P2_channels"]:
        found[f"channel{{of['channel']}}"] = of["images"]
np.savez({path!r}, **found)
"""


def test_two_replicas_equal_one_and_a_ragged_last_batch_is_whole(tmp_path):
    found = []
    for kind in KINDS:
        path = str(tmp_path / f"{kind[0]}.npz")
        run_in_subprocess(PASSES.format(strategy=kind, path=path))
        with np.load(path) as arrays:
            found.append(dict(arrays))
    one, two = found
    assert list(one) == list(two) and one["train23"].shape == (23, 8)
    assert one["digest"] == two["digest"]
    for name in one:
        if name.startswith(("train", "test", "crops")):
            # Another number of rows in a convolution.
            np.testing.assert_allclose(one[name], two[name], atol=1e-6)
        else:
            np.testing.assert_array_equal(one[name], two[name])


COMMAND = """
import sys
from tfclust import evaluate
from tfclust.cli import flags
from tfclust.evaluation import EvaluationConfig
from tfclust.runtime import devices

strategy = devices.make_strategy(*{strategy})
devices.over_gpus = lambda: strategy
flags.define(evaluate.EvaluateConfig, EvaluationConfig)
argv = ["evaluate", "--protocols=knn,layers,filters",
        "--linear_epochs=1", "--num_neighbors=5",
        "--baselines=untrained,pixels", "--evaluation_batch_size=100",
        "--feature_cache_gb=0", "--test_data=digits:?split=test", *{argv}]
sys.exit(flags.status(evaluate.main, argv))
"""


def test_command_measures_a_run_the_same_on_two(tmp_path):
    run = tmp_path / "run"
    small_runs.quietly(small_runs.recipe(run))
    found = []
    for kind in KINDS:
        output = tmp_path / f"{kind[0]}.json"
        argv = [f"--workdir={run}", f"--output={output}"]
        run_in_subprocess(COMMAND.format(strategy=kind, argv=argv))
        found.append(json.loads(output.read_text()))
        page = output.with_name(f"{output.stem}_filters.html")
        assert "data:image" in page.read_text("utf-8")
    one, two = found
    assert list(one) == list(two) == ["trained", "untrained", "pixels"]
    for network in one:
        a, b = (of[network]["knn"]["top1"] for of in found)
        # Rounding may move one of 364 test images.
        assert a == pytest.approx(b, abs=1.5 / 364)
        a, b = (of[network]["layers"]["layers"] for of in found)
        assert a == b
