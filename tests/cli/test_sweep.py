"""The sweep: which runs it makes of a recipe, and what it tells of them."""

import dataclasses
import json
import signal
import time
import types

import pytest

from tests.support import processes
from tests.support.commands import TINY, command, environment, status
from tfclust import options, sweep
from tfclust.runs import checkpoints, recipes
from tfclust.training.sweeps import processes as children
from tfclust.training.sweeps import running
from tfclust.training.sweeps.table import format_table
from tfclust.training.sweeps.variants import variants


def recipe(**knobs):
    knobs = {"method": "coke", "data": "digits:", "workdir": "W", **knobs}
    return recipes.make_recipe(epochs=2, **knobs)


def test_variants_are_all_combinations_the_last_knob_fastest():
    found = variants(recipe(seed=7), "min_share=0.4|1 epochs=3|5")
    assert [v.values for v in found] == [
        {"min_share": "0.4", "epochs": "3"},
        {"min_share": "0.4", "epochs": "5"},
        {"min_share": "1", "epochs": "3"},
        {"min_share": "1", "epochs": "5"},
    ]
    last = found[-1].recipe
    assert (last.method.min_share, last.run.epochs) == (1.0, 5)
    assert last.run.seed == 7  # the others' value stays
    assert len({v.workdir for v in found}) == 4
    assert all(v.workdir.parent.name == "W" for v in found)


def test_a_value_may_be_a_list_or_nothing():
    found = variants(recipe(), "num_clusters=20|20,30 class_shares=|1,0.5")
    assert [v.recipe.method.num_clusters for v in found[::2]] == [
        (20,),
        (20, 30),
    ]
    assert [v.recipe.run.class_shares for v in found[:2]] == [(), (1.0, 0.5)]


def test_folders_have_names_that_every_disk_takes():
    found = variants(recipe(), "view_scales=0.3:1|0.2:1 init_from=a/b|c")
    for variant in found:
        assert not set(variant.workdir.name) & set('/\\:*?"<>|')


@pytest.mark.parametrize(
    ("vary", "words"),
    [
        ("", "vary must name a knob"),
        ("min_share", "each knob once"),
        ("min_share=0.4|0.4", "values once"),
        ("min_share=0.4 min_share=1", "each knob once"),
        ("min_shore=0.4|1", "a knob that coke does not have"),
        ("freeze_steps=0|1", "a knob that coke does not have"),
        ("min_share=0.4|2", "min_share must be at most 1.0"),
        ("min_share=0.4|much", "min_share=much"),
        ("method=coke|swav", "vary must not change method"),
        ("workdir=a|b", "vary must not change workdir"),
        ("data=|digits:", "data must be given"),
    ],
)
def test_values_that_make_no_sense_are_refused_before_a_run(
    vary, words, tmp_path, capsys
):
    code = status(
        "sweep",
        "--method=coke",
        "--data=digits:",
        "--epochs=1",
        f"--workdir={tmp_path / 'W'}",
        f"--vary={vary}",
    )
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (tmp_path / "W").exists()


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Folder and result of a sweep whose second run cannot begin."""
    folder = tmp_path_factory.mktemp("sweep")
    return folder, run_sweep(folder, "queue_rows=0|96")


def run_sweep(folder, vary, *more):
    return command(
        "sweep",
        *TINY,
        "--epochs=1",
        f"--vary={vary}",
        "--test_data=digits:?split=test",
        f"--workdir={folder}",
        *more,
    )


@pytest.mark.slow
def test_each_run_is_trained_and_measured(swept):
    folder, _ = swept
    assert checkpoints.latest(folder / "queue_rows=0").step == 4
    measured = json.loads(
        (folder / "queue_rows=0" / "evaluation.json").read_text()
    )
    header, _, line, _ = (folder / "table.md").read_text().splitlines()
    row = dict(
        zip(header.split(" | "), line.strip("| ").split(" | "), strict=False)
    )
    assert row["| queue_rows"] == "0"
    top1 = measured["trained"]["knn"]["top1"]
    assert row["20-NN"] == f"{100 * top1:.1f}"


@pytest.mark.slow
def test_a_run_that_fails_is_reported_and_does_not_stop_the_others(swept):
    folder, done = swept
    assert done.returncode == 2
    assert done.stderr == ""
    assert "queue_rows=0: done" in done.stdout
    (told,) = (x for x in done.stdout.splitlines() if "exit code 2" in x)
    assert "queue_rows must be at most the number of images" in told
    assert (folder / "table.md").read_text() in done.stdout
    assert "| 96 | – |" in done.stdout


@pytest.mark.slow
def test_a_sweep_ends_with_a_page_of_its_runs(swept):
    folder, done = swept
    page = folder / "report.html"
    assert done.stdout.endswith(f"Side by side: {page}\n")
    # Of the run that is done; the other has never begun.
    text = page.read_text("utf-8")
    assert "queue_rows=0" in text and "queue_rows=96" not in text


@pytest.mark.slow
def test_what_is_done_is_not_done_again(swept):
    folder, _ = swept
    log = folder / "queue_rows=0" / "sweep.log"
    before = log.stat().st_mtime_ns
    again = run_sweep(folder, "queue_rows=0")
    assert again.returncode == 0, again.stderr
    assert log.stat().st_mtime_ns == before
    assert "| 0 |" in again.stdout


@pytest.mark.slow
def test_a_folder_with_a_run_of_other_flags_is_refused(swept):
    folder, _ = swept
    other = run_sweep(folder, "queue_rows=0", "--seed=1")
    assert other.returncode == 2
    assert "seed=1 (was 0)" in other.stderr
    assert len(other.stderr.splitlines()) == 1


@pytest.mark.slow
def test_figures_on_other_images_are_not_taken_for_these(swept):
    folder, _ = swept
    told = r"max_images=32 \(was 64\)"
    config = sweep.SweepConfig("queue_rows=0", "digits:?split=test")
    saved = checkpoints.latest(folder / "queue_rows=0").about["recipe"]
    same = recipes.from_words(saved)
    run = dataclasses.replace(same.run, workdir=str(folder))
    same = same._replace(run=run)
    found = running.sweep(same, config, say=lambda line: None)
    assert found.failed == 0 and "| 0 |" in found.table
    other = same._replace(run=dataclasses.replace(run, max_images=32))
    with pytest.raises(ValueError, match=told):
        running.sweep(other, config)
    elsewhere = dataclasses.replace(config, test_data="digits:?split=all")
    with pytest.raises(ValueError, match="test_data=digits:.split=all"):
        running.sweep(same, elsewhere)


CHILD = """#!/bin/sh
trap 'echo saved; exit 130' TERM
echo "$2"
while :; do sleep 0.05; done
"""


def test_a_sweep_that_ends_asks_its_child_to_save_and_starts_no_other(
    tmp_path, monkeypatch
):
    program, logs, codes = tmp_path / "python", [], []
    program.write_text(CHILD)
    program.chmod(0o755)
    python = types.SimpleNamespace(executable=str(program))
    monkeypatch.setattr(children, "sys", python)

    def run(name):
        logs.append(tmp_path / name)
        with open(logs[-1], "w") as log:
            codes.append(pool.call(log, "train"))

    limit = time.monotonic() + 100
    with pytest.raises(KeyboardInterrupt), children.Processes(1) as pool:
        for name in ("first", "second"):
            pool.pool.submit(run, name)
        while not (logs and logs[0].exists() and logs[0].read_text()):
            assert time.monotonic() < limit
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert codes == [130]
    assert [log.read_text() for log in logs] == ["tfclust.train\nsaved\n"]
    assert not pool.children
    run("third")
    assert codes == [130, 130] and logs[-1].read_text() == ""


@pytest.mark.slow
def test_a_stopped_sweep_saves_its_runs_and_leaves_no_process(tmp_path):
    process = processes.start(
        [
            *("-m", "tfclust.sweep", *TINY, "--epochs=500", "--knn_images=0"),
            *("--vary=queue_rows=0|16|32", f"--workdir={tmp_path}"),
        ],
        env=environment(),
    )
    log = tmp_path / "queue_rows=0" / "sweep.log"
    limit = time.monotonic() + 200
    try:
        while not (log.exists() and "epoch 2" in log.read_text()):
            assert time.monotonic() < limit and process.poll() is None
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err == "sweep: interrupted.\n"
    assert "is saved in" in log.read_text()
    assert checkpoints.latest(tmp_path / "queue_rows=0").step >= 8
    assert not (tmp_path / "queue_rows=16").exists()


def test_table_says_what_a_variant_told(tmp_path):
    folder = tmp_path / "W"
    runs = variants(recipe(workdir=str(folder)), "min_share=0.4|1")
    assert format_table(runs).splitlines()[-1] == "| 1 |"
    first = folder / "min_share=0.4"
    first.mkdir(parents=True)
    scores = {
        "knn": {"top1": 0.4567, "num_neighbors": 20},
        "linear": {"top1": 0.5, "protocol": "lbfgs"},
        "clusters": {
            "ami": 0.1,
            "ari": 0.05,
            "nmi": 0.12345,
            "num_clusters": 10,
        },
    }
    (first / "evaluation.json").write_text(json.dumps({"trained": scores}))
    always = {
        "loss": 2.0,
        "loss_over_log_k": 0.5,
        "effective_clusters": 9.0,
        "empty_clusters": 0,
        "largest_cluster_share": 0.2,
    }
    lines = [
        {"epoch": 1, "step": 2, **always, "smallest_label_cluster": 1.0},
        {"epoch": 2, "step": 4, **always, "smallest_label_cluster": 1234.0},
    ]
    (first / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert format_table(runs).splitlines() == [
        "| min_share | 20-NN | linear | AMI | ARI | NMI | loss / chance | "
        "effective clusters | smallest cluster |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| 0.4 | 45.7 | 50.0 | 0.100 | 0.050 | 0.123 | 0.50 | 9.0 | 1,234 |",
        "| 1 | – | – | – | – | – | – | – | – |",
    ]
    del scores["linear"]  # measured again by fewer protocols
    (first / "evaluation.json").write_text(json.dumps({"trained": scores}))
    assert "linear" not in format_table(runs)
    assert options.text(runs[0].recipe.method.min_share) == "0.4"
