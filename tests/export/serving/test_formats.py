"""The files for other runtimes give the method's numbers there."""

import json

import numpy as np
import pytest

from tests.support.exported import (
    OUTPUTS,
    SIZE,
    expected_outputs,
    some_images,
    stand_in,
)
from tfclust import saved_model
from tfclust.saved_model import formats

pytestmark = pytest.mark.slow
FORMATS = ("onnx", "litert", "openvino")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A method, and its version with all formats."""
    for package in ("onnx", "tf2onnx", "openvino"):
        pytest.importorskip(package)
    method = stand_in()
    folder = tmp_path_factory.mktemp("formats")
    extras = saved_model.Extras(formats=FORMATS)
    path = saved_model.save(method, folder, image_size=SIZE, extras=extras)
    return method, path


def run_onnx(path, images):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(path))
    (given,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    return dict(
        zip(names, session.run(names, {given.name: images}), strict=True)
    )


def run_litert(path, images):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    loaded = interpreter.Interpreter(str(path))
    (name,) = loaded.get_signature_list()
    runner = loaded.get_signature_runner(name)
    (given,) = runner.get_input_details()
    return runner(**{given: images})


def run_openvino(path, images):
    openvino = pytest.importorskip("openvino")
    # Its processors' default is half precision where there is hardware for it.
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", hints)
    found = compiled(images)
    return {
        next(iter(port.names), str(i)): found[port]
        for i, port in enumerate(compiled.outputs)
    }


RUN = {"onnx": run_onnx, "litert": run_litert, "openvino": run_openvino}


@pytest.mark.parametrize("name", FORMATS)
def test_backbone_gives_the_features_for_any_batch(exported, name):
    method, path = exported
    backbone = path / f"assets.extra/backbone{formats.FORMATS[name].suffix}"
    for count in (1, 3):
        images = some_images(count)
        (features,) = RUN[name](backbone, images).values()
        wanted = method.backbone(images, training=False).numpy()
        np.testing.assert_allclose(features, wanted, atol=1e-5)


@pytest.mark.parametrize("name", FORMATS)
def test_signature_gives_all_outputs_and_the_same_clusters(exported, name):
    method, path = exported
    file = path / f"assets.extra/images{formats.FORMATS[name].suffix}"
    images = some_images(5)
    found = RUN[name](file, images)
    wanted = expected_outputs(method, images)
    assert set(found) == OUTPUTS
    for key in ("features", "projections", "cluster_score"):
        np.testing.assert_allclose(found[key], wanted[key], atol=1e-5)
    assert found["cluster"].tolist() == wanted["cluster"].tolist()


def test_card_names_every_file(exported):
    _, path = exported
    card = json.loads((path / saved_model.CARD_FILE).read_text("utf-8"))
    assert set(card["formats"]) == set(FORMATS)
    for files in card["formats"].values():
        for file in files:
            assert (path / file).stat().st_size > 0
