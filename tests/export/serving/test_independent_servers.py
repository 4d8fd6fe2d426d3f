"""Triton and KServe, which are none of ours, answer as the model does."""

import contextlib
import subprocess
import time

import numpy as np
import pytest

from export.serving import client, sending, transport
from export.serving.faults import FATAL, REFUSED, Fault
from tests.export.serving.conftest import MODEL
from tests.support import image_files
from tests.support.processes import ROOT, free_ports
from tfclust.cli import flags

PYTHON = ROOT / ".venv-servers" / "bin" / "python"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="needs make serve-triton once"
    ),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i in range(40):
        image_files.write(folder, f"{i}.png")
    return folder


def checked(server, versions, images, **ports):
    """What a server's command says that compares its answers with ours."""
    command = [
        str(PYTHON), "-m", f"export.serving.{server}",
        f"--models={MODEL}={versions}", f"--check_images={images}",
        *(f"--{name}={port}" for name, port in ports.items()),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_triton_answers_as_the_model_does(versions, images):
    http, grpc, metrics = free_ports(3)
    said = checked(
        "triton_server", versions, images,
        http_port=http, grpc_port=grpc, metrics_port=metrics,
    )  # fmt: skip
    for protocol in ("grpc", "http"):
        assert f"{protocol}: answers equal the model's own." in said


def test_our_client_gets_from_kserve_what_the_model_answers(versions, images):
    (port,) = free_ports(1)
    said = checked("kserve_server", versions, images, http_port=port)
    assert "mine: 40 of 40 images answered" in said
    assert "http: answers equal the model's own." in said


@contextlib.contextmanager
def kserve(versions):
    """The URL of KServe's server in its own environment."""
    (port,) = free_ports(1)
    command = [
        str(PYTHON), "-m", "export.serving.kserve_server",
        f"--models={MODEL}={versions}", f"--http_port={port}",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    url = f"http://127.0.0.1:{port}"
    asks = transport.connect(url)
    ends = time.monotonic() + 300
    try:
        while True:
            try:
                asks.describe(MODEL, None, None, 5)
                break
            except Fault:
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < ends
            time.sleep(0.2)
        yield url, asks
    finally:
        asks.close()
        process.terminate()
        process.communicate(timeout=60)


def test_kserves_faults_are_told_as_tf_servings_are(
    versions, images, tmp_path, capsys
):
    with kserve(versions) as (url, asks):
        about = asks.describe(MODEL, None, None, 30)
        assert about.version is None
        (name, signature), *rest = about.signatures.items()
        assert name == "serving_default" and not rest
        target = sending.Target(
            MODEL, None, name, "image_bytes", signature.outputs
        )

        def ask(files, **other):
            changed = target._replace(**other)
            given = {changed.input: files}
            return asks.predict(changed, given, list(target.outputs), 30)

        good = image_files.encoded(image_files.picture())
        alone, beside = ask([good]), ask([good, good[:50], b""])
        np.testing.assert_allclose(
            beside["features"][0], alone["features"][0], atol=1e-5
        )
        assert np.isnan(beside["features"][1:]).all()
        assert beside["status"][0] == b"ok"
        assert b"ok" not in beside["status"][1:].tolist()
        with pytest.raises(Fault, match="a request must be") as refused:
            ask([good], input="colour")
        assert refused.value.kind == REFUSED
        with pytest.raises(Fault, match="KServe has no versions") as refused:
            asks.describe(MODEL, 1, None, 30)
        assert refused.value.kind == FATAL
        flags.define(client.ClientConfig)
        arguments = [
            "client.py", f"--url={url}", "--model=wrong",
            f"--images=folder:{images}", f"--output={tmp_path}/f.npz",
        ]  # fmt: skip
        assert flags.status(client.main, arguments) == 2
    error = capsys.readouterr().err
    assert "refuses model wrong: HTTP 404" in error and error.count("\n") == 1
