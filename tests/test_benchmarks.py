"""The runner of the benchmarks: what it refuses, runs and reports."""

import subprocess
import sys

import pytest
from benchmarks import __main__ as runner
from conftest import ROOT


@pytest.fixture
def folder(tmp_path):
    """A benchmark that tells its arguments, and one that crashes."""
    (tmp_path / "bench_calm.py").write_text(
        "import sys; print('calm', *sys.argv[1:])"
    )
    (tmp_path / "bench_broken.py").write_text("raise RuntimeError('broken')")
    (tmp_path / "helper.py").write_text("raise RuntimeError('no benchmark')")
    return tmp_path


def test_unknown_name_exits_2_with_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "sinkhorn", "sinkhron"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "Received: sinkhron." in line
    for name in ("coke", "growth", "input", "kmeans", "transport", "step"):
        assert name in line


@pytest.mark.parametrize(
    "arguments",
    [["--fast"], ["--qui"], ["--quick=yes"], [""], ["bench_calm"]],
)
def test_arguments_that_make_no_sense_exit_2_with_one_line(
    folder, arguments, capfd
):
    with pytest.raises(SystemExit) as exit_info:
        runner.main(arguments, folder)
    assert exit_info.value.code == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1


def test_all_run_and_a_crash_is_told_by_the_exit_code(folder, capfd):
    assert runner.main([], folder) == 1
    out, err = capfd.readouterr()
    assert "calm\n" in out  # though the one before it crashed
    assert "[broken: exit code 1" in out
    assert err.endswith("benchmarks: crashed: broken.\n")
    assert "no benchmark" not in err


def test_chosen_names_run_and_hear_of_quick(folder, capfd):
    assert runner.main(["--quick", "calm"], folder) == 0
    out, err = capfd.readouterr()
    assert "calm --quick\n" in out
    assert err == ""
