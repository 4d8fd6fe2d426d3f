"""What `make serve` runs, and the local server as a command."""

import signal

import numpy as np
import pytest

from export.serving import demonstration
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
    assert "mine, version 2, answered for 7 of 7 images" in said
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


@pytest.mark.slow
def test_a_port_that_is_taken_is_one_line(own_versions, server):
    port = server.rest_url.rpartition(":")[2]
    taken = processes.run(
        [
            *("-m", "export.serving.local_server", "--port=0"),
            *(f"--models={own_versions}", f"--rest_port={port}"),
            "--nowarm_up",
        ],
        env=environment(),
    )
    assert taken.returncode == 2
    assert f"rest_port={port} cannot be listened on" in taken.stderr
    assert taken.stderr.count("\n") == 1
