"""The command that measures several runs and exports side by side."""

import csv
import json

import pytest

from tests.support import small_runs
from tfclust import evaluate, export
from tfclust.cli import flags
from tfclust.evaluation import EvaluationConfig
from tfclust.runs import exporting
from tfclust.training import comparing

pytestmark = pytest.mark.usefixtures("one_block")
SHORT = {"epochs": None, "steps": 2, "eval_data": "digits:?split=test"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run, its export, and a supervised run."""
    parent = tmp_path_factory.mktemp("runs")
    small_runs.quietly(small_runs.recipe(parent / "swav", **SHORT))
    labelled = {
        "method": "fixed_labels",
        "pseudo_labels": "source",
        "num_clusters": None,
        "freeze_steps": None,
    }
    small_runs.quietly(small_runs.recipe(parent / "sup", **SHORT, **labelled))
    version = exporting.export(export.ExportConfig(str(parent / "swav")))
    return parent / "swav", version.parent, parent / "sup"


def status_of(*argv):
    flags.define(evaluate.EvaluateConfig, EvaluationConfig)
    return flags.status(evaluate.main, ["evaluate", *map(str, argv)])


@pytest.mark.slow
def test_run_export_and_supervised_are_in_one_table(folders, tmp_path, capsys):
    run, exported, supervised = folders
    output = tmp_path / "table.json"

    status = status_of(
        f"--compare={run},{exported}",
        f"--supervised={supervised}",
        f"--output={output}",
        "--protocols=knn,clusters",
        "--cluster_restarts=1",
        "--bootstrap_resamples=5",
        "--baselines=untrained,pixels",
        "--num_neighbors=5",
    )

    assert status == 0
    results = json.loads(output.read_text())
    names = ["swav", "saved_model", "supervised", "untrained", "pixels"]
    # The supervised run has a head of its own, but the same backbone.
    assert list(results) == names
    one, two = (results[name]["knn"]["top1"] for name in names[:2])
    assert one == pytest.approx(two, abs=1 / 300)
    assert len(results["pixels"]["clusters"]["ami_interval"]) == 2
    lines = output.with_suffix(".md").read_text().splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == [
        *names,
        "chance",
    ]
    with output.with_suffix(".csv").open() as file:
        assert {row["network"] for row in csv.DictReader(file)} == set(names)
    page = output.with_suffix(".html").read_text()
    assert "supervised" in page and "<svg" in page
    printed = capsys.readouterr().out
    assert lines[0] in printed and f"Written: {output}" in printed
    # Features of a run are kept with it, those of baselines with the first.
    assert len(list((run / "cache" / "features").iterdir())) > 2


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["a/swav", "b/sela"], ["swav", "sela"]),
        (["a/swav", "b/swav"], ["ROOT/a/swav", "ROOT/b/swav"]),
        (["pixels", "b/sela"], ["ROOT/pixels", "ROOT/b/sela"]),
        (["a/untrained swav"], ["ROOT/a/untrained swav"]),
        (["supervised"], ["ROOT/supervised"]),
    ],
)
def test_names_differ_from_one_another_and_from_those_of_baselines(
    tmp_path, monkeypatch, given, names
):
    monkeypatch.chdir(tmp_path)
    found = comparing.named(
        evaluate.EvaluateConfig(
            compare=tuple(given), supervised="labels", output="out.json"
        )
    )
    names = [name.replace("ROOT", str(tmp_path.resolve())) for name in names]
    assert list(found) == [*names, "supervised"]


@pytest.mark.slow
def test_supervised_run_must_have_learnt_from_labels(folders, tmp_path, capsys):
    run, _, supervised = folders
    status = status_of(
        f"--compare={supervised}",
        f"--supervised={run}",
        f"--output={tmp_path / 'out.json'}",
    )
    assert status == 2
    assert "method=swav. Give it in compare" in capsys.readouterr().err


@pytest.mark.slow
def test_network_that_lacks_something_is_refused_before_any_figure(
    folders, tmp_path, capsys
):
    run, exported, _ = folders
    status = status_of(
        f"--compare={run},{exported}",
        f"--output={tmp_path / 'out.json'}",
        "--protocols=knn,pseudo_labels",
    )
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a network without, such as a SavedModel" in line
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "named",
    [("--compare=RUN", "--supervised=SUP"), ("--workdir=SUP",)],
)
def test_images_whose_labels_a_run_has_learnt_test_nothing(
    folders, tmp_path, named, capsys
):
    run, _, supervised = folders
    named = [
        word.replace("RUN", str(run)).replace("SUP", str(supervised))
        for word in named
    ]
    status = status_of(
        *named,
        f"--output={tmp_path / 'out.json'}",
        "--train_data=digits:?split=test",
        "--test_data=digits:?split=train",
    )
    assert status == 2
    told = capsys.readouterr().err
    assert f"64 of 1433 images are among those that {supervised}" in told


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--compare=RUN",), "output must be given with compare"),
        (("--compare=RUN", "--workdir=RUN"), "RUN beside compare=RUN"),
        (("--compare=RUN,RUN", "--output=OUT"), "each folder once"),
        (("--compare=RUN,RUN/", "--output=OUT"), "RUN, 2 times"),
        (
            ("--compare=RUN", "--supervised=RUN", "--output=OUT"),
            "must name each folder once",
        ),
        (("--compare=RUN,NONE", "--output=OUT"), "NONE holds neither a run"),
        (("--workdir=RUN", "--supervised=RUN"), "Give --compare=a,b"),
    ],
)
def test_bad_input_ends_with_2_and_one_line(tmp_path, argv, words, capsys):
    for name in ("RUN", "NONE", "OUT"):
        place = str(tmp_path / name.lower())
        argv = [word.replace(name, place) for word in argv]
        words = words.replace(name, place)
    (tmp_path / "run" / "checkpoints" / "0000000010").mkdir(parents=True)

    assert status_of(*argv) == 2

    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert words in captured.err
