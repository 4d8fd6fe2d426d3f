"""What is kept off standard error, and what is not."""

import os
import subprocess
import sys
import threading

import pytest

from tests.support import processes
from tests.support.commands import environment
from tfclust.runtime import quiet


def test_lines_of_the_jpeg_library_alone_are_kept_off(capfd):
    with quiet.without_decoder_lines():
        os.write(2, b"Improper call to JPEG library in state 201\n")
        os.write(2, b"E0000 00:00:1.2  7 jpeg_mem.cc:331] Premature end\n")
        os.write(2, b"E0000 an error\nBogus DHT index 3\nBogus claim\n")
        os.write(2, b"no line's end")
    os.write(2, b", and after\n")
    assert capfd.readouterr().err == (
        "E0000 an error\nBogus claim\nno line's end, and after\n"
    )


@pytest.mark.parametrize("level", [None, "2", "0"])
def test_notices_are_kept_off_unless_a_person_wants_all(
    level, capfd, monkeypatch
):
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    if level is not None:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level)
    notice = "I0000 00:00:1.2  7 port.cc:153] oneDNN is on\n"
    with quiet.without_notices():
        os.write(2, notice.encode() + b"an error\n")
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == (level or "2")
    said = capfd.readouterr().err
    assert said == (notice if level == "0" else "") + "an error\n"


@pytest.mark.slow
def test_a_plain_program_says_nothing_of_tensorflow():
    program = "import tfclust; print(tfclust.data.open_source('digits:'))"
    done = processes.run(["-c", program], env=environment(), fresh=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1433 images" in done.stdout


def test_an_error_leaves_standard_error_as_it_was(capfd):
    try:
        with quiet.without_decoder_lines():
            raise KeyError("x")
    except KeyError:
        os.write(2, b"Bogus DHT index 3\n")
    assert capfd.readouterr().err == "Bogus DHT index 3\n"


def test_a_process_started_meanwhile_delays_nothing(capfd):
    with quiet.without_decoder_lines():
        child = subprocess.Popen(["sleep", "60"])
    assert child.poll() is None
    child.kill()
    child.wait()


def test_two_threads_leave_standard_error_as_it_was(capfd):
    first_in, second_in, first_out = (threading.Event() for _ in range(3))

    def first():
        with quiet.without_decoder_lines():
            first_in.set()
            second_in.wait()
        first_out.set()

    thread = threading.Thread(target=first)
    thread.start()
    first_in.wait()
    with quiet.without_decoder_lines():
        second_in.set()
        first_out.wait()
    thread.join()
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"


def test_a_closed_standard_error_is_no_error():
    kept = os.dup(2)
    os.close(2)
    try:
        with quiet.without_decoder_lines():
            pass
    finally:
        os.dup2(kept, 2)
        os.close(kept)
