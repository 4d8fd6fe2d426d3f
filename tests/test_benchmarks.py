"""The runner of the benchmarks: what it refuses, runs and reports."""

import argparse
import sys

import pytest

from tests.benchmarks import __main__ as runner
from tests.benchmarks import bench_scale, bench_torch, pairs, scale_fit, workers
from tests.support import processes


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
    arguments = ["-m", "tests.benchmarks", "sinkhorn", "sinkhron"]
    done = processes.run(arguments, timeout=60, fresh=True)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "Received: sinkhron." in line
    for path in runner.HERE.glob("bench_*.py"):
        assert path.stem.removeprefix("bench_") in line


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


def test_all_run_and_a_crash_is_reported_by_the_exit_code(folder, capfd):
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


def test_workers_take_turns_and_tell_their_processor_seconds(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(runner.HERE)!r})\n"
        "from workers import serve\n"
        "clock = iter(range(100))\n"
        "serve(lambda: None, {'name': sys.argv[1]}, lambda: next(clock))\n"
    )
    with (
        workers.Worker([sys.executable, str(script), "one"]) as one,
        workers.Worker([sys.executable, str(script), "two"]) as two,
    ):
        turns = {"one": one.turn, "two": two.turn}
        seconds = pairs.time_pairs(turns, repeats=3)
    assert (one.about, two.about) == ({"name": "one"}, {"name": "two"})
    assert one.seconds == two.seconds == [1, 1, 1, 1]  # the warm-up too
    assert [len(values) for values in seconds.values()] == [3, 3]


def test_a_worker_that_dies_is_reported():
    with pytest.raises(RuntimeError, match="ended with 3"):
        workers.Worker([sys.executable, "-c", "raise SystemExit(3)"])


def test_without_pytorch_ours_is_timed_alone(capsys):
    options = argparse.Namespace(torch_python="false", bfloat16=False)
    found = bench_torch.commands(options, threads=1, batch=4, size=32)
    assert list(found) == [bench_torch.OURS]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("PyTorch left out: false does not have it")


def test_fitted_model_finds_what_made_the_points():
    truth = {"N K d": 2e-11, "N K": 0.0, "N d": 3e-9, "1": 0.01}

    def seconds(*point):
        return scale_fit.predicted(scale_fit.pass_terms, truth, point)

    points = bench_scale.FITTED
    model = scale_fit.fit(
        scale_fit.pass_terms, points, [seconds(*p) for p in points]
    )
    for name, coefficient in truth.items():
        assert model[name] == pytest.approx(coefficient, rel=1e-6, abs=1e-16)
    elsewhere = (1_281_167, 10_000, 256)
    guess = scale_fit.predicted(scale_fit.pass_terms, model, elsewhere)
    assert guess == pytest.approx(seconds(*elsewhere))
