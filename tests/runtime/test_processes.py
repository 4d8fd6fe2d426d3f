"""The helper of the tests that starts forks: what an interpreter does too."""

import signal
import subprocess

import pytest

from tests.support import processes


def test_code_has_its_arguments_environment_output_and_exit_code():
    code = (
        "import os, sys\n"
        "print(sys.argv, os.environ['A'], 'HOME' in os.environ, os.getcwd())\n"
        "print('told', file=sys.stderr)\n"
        "sys.exit(3)"
    )
    done = processes.run(["-c", code, "x", 2], env={"A": "b"})
    assert done.returncode == 3
    assert done.stdout == f"['-c', 'x', '2'] b False {processes.ROOT}\n"
    assert done.stderr == "told\n"


def test_nothing_of_this_process_is_there_but_the_import():
    code = (
        "import sys\n"
        "names = {name.split('.')[0] for name in sys.modules}\n"
        "print('keras' in names, names & {'pytest', '_pytest', 'tfclust'})\n"
    )
    assert processes.run(["-c", code]).stdout == "True set()\n"
    done = processes.run(["-c", "import sys; print(len(sys.modules))"], fresh=1)
    assert int(done.stdout) < 100


def test_a_module_and_a_file_are_main(tmp_path):
    path = tmp_path / "told.py"
    path.write_text("import sys; print(__name__, sys.argv, file=sys.stderr)")
    process = processes.start([path, "x"], stderr=subprocess.STDOUT)
    output, errors = process.communicate()
    assert (output, errors) == (f"__main__ ['{path}', 'x']\n", None)
    done = processes.run(["-m", "tfclust.train", "--no_such_flag"])
    assert done.returncode == 2
    assert "no_such_flag" in done.stderr and "Traceback" not in done.stderr


def test_an_error_ends_with_1_and_a_traceback():
    done = processes.run(["-c", "raise KeyError('lost')"])
    assert done.returncode == 1
    assert done.stderr.endswith("KeyError: 'lost'\n")


def test_words_for_an_exit_code_are_reported():
    done = processes.run(["-c", "import sys; sys.exit('no room')"])
    assert (done.returncode, done.stderr) == (1, "no room\n")


def test_signals_reach_it_and_are_reported():
    code = "import time; print('up', flush=True); time.sleep(60)"
    process = processes.start(["-c", code])
    assert process.stdout.readline() == "up\n"
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(30)
    assert process.returncode and "KeyboardInterrupt" in errors
    process = processes.start(["-c", code])
    process.kill()
    assert process.wait(30) == -signal.SIGKILL


def test_what_takes_too_long_is_killed():
    with pytest.raises(subprocess.TimeoutExpired):
        processes.run(["-c", "import time; time.sleep(60)"], timeout=0.5)
