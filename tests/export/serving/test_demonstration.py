"""What `make serve` runs, and the local server as a command."""

import signal
import sys

import numpy as np
import pytest

from export.serving import (
    demonstration,
    kserve_server,
    local_server,
    ports,
    triton_server,
)
from export.serving.faults import ServingError
from tests.export.serving.conftest import MODEL
from tests.support import processes
from tests.support.commands import environment, write_digits
from tfclust.cli import flags


@pytest.mark.slow
def test_demonstration_configures_serves_and_asks(
    own_versions, tmp_path, capfd
):
    photos = write_digits(tmp_path / "photos", count=7, by_class=False)
    output = tmp_path / "features.npz"
    arguments = (
        f"--models={own_versions}", f"--images=folder:{photos}",
        f"--output={output}",
    )  # fmt: skip
    flags.define(demonstration.DemonstrationConfig)
    main = demonstration.main
    for _ in range(2):  # the second time, it writes the output again
        assert flags.status(main, ["demonstration.py", *arguments]) == 0
    said = capfd.readouterr().out
    assert "mine, version 2: 7 of 7 images answered" in said
    assert "mine: stable 2" in said
    with np.load(output) as found:
        assert np.isfinite(found["features"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_local_server_ends_when_it_is_asked_to(own_versions, number):
    process = processes.start(
        [
            *("-m", "export.serving.local_server", "--port=0"),
            *(f"--models={own_versions}", "--rest_port=0", "--nowarm_up"),
        ],
        env=environment(),
    )
    lines = [process.stdout.readline() for _ in range(2)]
    process.send_signal(number)
    process.communicate(60)
    assert lines[0] == f"Serves {MODEL}, version 2.\n"
    assert lines[1].startswith("Listens: grpc://127.0.0.1:")
    assert process.returncode == 0


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--port={grpc}"], "port={grpc} at host=127.0.0.1 cannot be listened"),
        (["--rest_port={http}"], "rest_port={http} at host=127.0.0.1 cannot"),
        (["--host=203.0.113.1"], "at host=203.0.113.1 cannot be listened on"),
        (["--port=-1"], "port must be at least 0"),
        (["--models="], "models must be given"),
        (["--models=/nowhere"], "no SavedModel in /nowhere"),
    ],
)
def test_local_server_refuses_in_one_line_before_it_loads(
    own_versions, server, capfd, arguments, words
):
    urls = {"grpc": server.grpc_url, "http": server.rest_url}
    taken = {name: url.rpartition(":")[2] for name, url in urls.items()}
    given = [word.format(**taken) for word in arguments]
    flags.define(local_server.LocalConfig)
    first = [f"--models={own_versions}", "--port=0", "--rest_port=0"]
    command = ["local_server.py", *first, *given]
    assert flags.status(local_server.main, command) == 2
    error = capfd.readouterr().err
    assert words.format(**taken) in error and error.count("\n") == 1


@pytest.mark.parametrize("server", [triton_server, kserve_server])
@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--models={}"], "makes an environment for it"),
        ([], "models must be one folder"),
        (["--models=a,b"], "models must be one folder"),
        (["--models=/nowhere"], "no SavedModel in /nowhere"),
        (["--models={}/1"], "one version. Give"),
        (["--models={}", "--check_images=/nowhere/x"], "check_images"),
        (["--models={}", "--http_port=0"], "http_port must be at least 1"),
    ],
)
def test_servers_of_others_refuse_in_one_line(
    own_versions, monkeypatch, capfd, server, arguments, words
):
    for absent in ("kserve", "pytriton"):
        monkeypatch.setitem(sys.modules, absent, None)
    configs = {triton_server: "TritonConfig", kserve_server: "KServeConfig"}
    flags.define(getattr(server, configs[server]))
    given = [word.format(own_versions) for word in arguments]
    assert flags.status(server.main, ["server.py", *given]) == 2
    error = capfd.readouterr().err
    assert words in error and error.count("\n") == 1


def test_ports_that_are_taken_are_told(server):
    port = int(server.rest_url.rpartition(":")[2])
    with pytest.raises(ServingError, match=f"http_port={port} cannot be"):
        ports.refuse_taken(http_port=port)
    ports.refuse_taken(http_port=0)
