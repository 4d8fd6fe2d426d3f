"""Model servers that tests talk to: ours in this process, and TF Serving's."""

import contextlib
import shutil
import subprocess
import threading
import time

import pytest

from export.serving import configuration, local_server
from tests.support.processes import free_ports

PROGRAM = "tensorflow_model_server"
needs_tf_serving = pytest.mark.skipif(
    shutil.which(PROGRAM) is None,
    reason=f"needs {PROGRAM} on PATH, which no Python package brings",
)


def local(folders, **how):
    """A `LocalServer` on free ports; a context."""
    config = local_server.LocalConfig(port=0, rest_port=0, **how)
    return local_server.LocalServer(folders, config)


@contextlib.contextmanager
def tf_serving(config_folder, folders):
    """TF Serving with the files of `export.serving.serve`.

    Args:
      config_folder: where they are. folders: dict of a model to its versions.

    Yields:
      Its URLs, gRPC's and REST's.
    """
    place = config_folder.parent / "as_in_the_container"
    shutil.copytree(config_folder, place, dirs_exist_ok=True)
    path = place / configuration.MODELS_CONFIG
    words = path.read_text("utf-8")
    for name, folder in folders.items():
        words = words.replace(f'"{configuration.MODELS}/{name}"', f'"{folder}"')
    path.write_text(words, "utf-8")
    grpc_port, rest_port = free_ports(2)
    ours = {
        str(configuration.GRPC_PORT): str(grpc_port),
        str(configuration.REST_PORT): str(rest_port),
    }
    arguments = [PROGRAM]
    for flag in configuration.server_flags():
        name, _, value = flag.partition("=")
        value = ours.get(value, value)
        value = value.replace(f"{configuration.CONFIGS}/", f"{place}/")
        arguments.append(f"{name}={value}")
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines: list[str] = []
    threading.Thread(target=lambda: lines.extend(process.stdout)).start()
    try:
        _wait_for("Exporting HTTP/REST API", process, lines)
        yield f"grpc://127.0.0.1:{grpc_port}", f"http://127.0.0.1:{rest_port}"
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(words, process, lines, seconds=60):
    ends = time.monotonic() + seconds
    while not any(words in line for line in lines):
        assert process.poll() is None, "".join(lines)[-3000:]
        assert time.monotonic() < ends, "".join(lines)[-3000:]
        time.sleep(0.1)
