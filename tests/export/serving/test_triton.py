"""Triton, a server that is none of ours, answers as the model does."""

import subprocess

import pytest

from tests.support import image_files
from tests.support.processes import ROOT, free_ports

PYTHON = ROOT / ".venv-triton" / "bin" / "python"


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="needs make serve-triton once")
def test_triton_answers_as_the_model_does(versions, tmp_path):
    for i in range(40):
        image_files.write(tmp_path / "images", f"{i}.png")
    http, grpc, metrics = free_ports(3)
    command = [
        str(PYTHON), "-m", "export.serving.triton_server",
        f"--models=mine={versions}", f"--check_images={tmp_path / 'images'}",
        f"--http_port={http}", f"--grpc_port={grpc}",
        f"--metrics_port={metrics}",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    for protocol in ("grpc", "http"):
        assert f"{protocol}: answers equal the model's own." in done.stdout
