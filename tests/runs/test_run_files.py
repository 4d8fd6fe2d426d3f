"""Foreign and damaged files of a run's folder are told, and cost nothing."""

import json
import os

import pytest

from tests.support.epoch_figures import ends
from tfclust.runs import exporting, skipped
from tfclust.runs import metrics as progress
from tfclust.runtime import devices, folders, locks
from tfclust.training.sweeps import table

FIGURES = {
    "loss": 2.0,
    "loss_over_log_k": 0.5,
    "effective_clusters": 9.0,
    "empty_clusters": 0,
    "largest_cluster_share": 0.2,
}
LINES = [
    json.dumps({"epoch": epoch, "step": 4 * epoch, **FIGURES})
    for epoch in (1, 2, 3)
]


def written(workdir, *lines):
    path = workdir / "metrics.jsonl"
    ending = b"" if lines[-1] == LINES[2][:-5].encode() else b"\n"
    path.write_bytes(b"\n".join(lines) + ending)
    return path


def encoded(*lines):
    return [line.encode() for line in lines]


FOREIGN = {
    "words": b"# my notes",
    "bytes": b"\xff\xfe\x00",
    "a list": b"[1, 2]",
    "a number": b"7",
    "another object": b'{"name": "mine"}',
    "a step in words": LINES[1].replace('"step": 8', '"step": "8"').encode(),
    "a loss of none": LINES[1].replace("2.0", "null").encode(),
    "half a line": LINES[1][:-5].encode(),
    "nested without end": b"[" * 100_000,
    "the epoch before again": LINES[0].encode(),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_foreign_lines_of_metrics_are_reported_and_kept_elsewhere(
    tmp_path, what
):
    first, second, third = encoded(*LINES)
    path = written(tmp_path, first, FOREIGN[what], second, third)
    before = path.read_bytes()
    assert len(progress.read_metrics(tmp_path)) == 3
    sentences = []
    metrics = progress.Metrics(tmp_path, 8, sentences.append)
    assert [figures["epoch"] for figures in metrics.history.epochs] == [1, 2]
    assert path.read_text().splitlines() == LINES[:2]
    assert (tmp_path / "metrics.jsonl.aside").read_bytes() == before
    assert "no figures of an epoch in line 2 of" in sentences[0]
    assert "metrics.jsonl.aside" in sentences[1]


def test_line_that_a_kill_cut_off_is_reported_and_left_out(tmp_path):
    written(tmp_path, *encoded(*LINES[:2], LINES[2][:-5]))
    sentences = []
    metrics = progress.Metrics(tmp_path, 12, sentences.append)
    assert len(metrics.history.epochs) == 2
    (sentence,) = sentences
    assert "line 3 of" in sentence and "which is incomplete" in sentence
    assert os.listdir(tmp_path) != []
    assert not (tmp_path / "metrics.jsonl.aside").exists()


def test_whole_metrics_are_not_spoken_of(tmp_path):
    written(tmp_path, *encoded(*LINES))
    sentences = []
    progress.Metrics(tmp_path, 8, sentences.append)
    assert sentences == []


def test_what_has_the_place_of_a_runs_files_is_moved_aside(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    (tmp_path / "tensorboard").write_text("mine")
    sentences = []
    metrics = progress.Metrics(tmp_path, 0, sentences.append)
    ends(metrics, json.loads(LINES[0]))
    metrics.on_train_end()
    assert (tmp_path / "metrics.jsonl.aside").is_dir()
    assert (tmp_path / "tensorboard.aside").read_text() == "mine"
    assert sum("Moved aside" in sentence for sentence in sentences) == 2


def test_new_run_removes_nothing_of_others_beside_its_events(tmp_path):
    folder = tmp_path / "tensorboard"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "events.out.tfevents.1.host").write_text("old")
    progress.Metrics(tmp_path, 0, print)
    assert (folder / "notes.txt").exists()
    assert not (folder / "events.out.tfevents.1.host").exists()


def test_tensorboard_that_cannot_be_written_is_a_sentence(
    tmp_path, monkeypatch
):
    def refuse(*_):
        raise progress.tf.errors.PermissionDeniedError(
            None, None, f"{tmp_path}/tensorboard; Permission denied"
        )

    create = "create_file_writer"
    monkeypatch.setattr(progress.tf.summary, create, refuse)
    with pytest.raises(folders.DiskError, match=": Permission denied"):
        progress.Metrics(tmp_path, 0)


@pytest.mark.parametrize("content", [b"\xff\n", b"my notes\n", None])
def test_list_of_images_left_out_that_is_none_is_moved_aside(tmp_path, content):
    path = tmp_path / "skipped.txt"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    sentences = []
    skipped.write(tmp_path, [("a.png", "torn")], sentences.append)
    assert path.read_text() == "a.png\ttorn\n"
    aside = tmp_path / "skipped.txt.aside"
    assert aside.is_dir() if content is None else aside.read_bytes() == content
    assert "Moved aside" in sentences[0]


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000])
def test_damaged_evaluation_is_left_out_of_the_card_with_a_word(
    tmp_path, capsys, content
):
    path = tmp_path / "evaluation.json"
    path.write_bytes(content)
    assert exporting._figures(path) is None
    assert f"Left out of the card: {path}: " in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_sweep_refuses_a_damaged_evaluation_by_name(tmp_path, content):
    path = tmp_path / "evaluation.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="evaluation.json must hold a JSON"):
        table.read_json(path, "it is measured again")


def _link(path, target):
    target.write_text("precious")
    path.symlink_to(target)


def _hard_link(path, target):
    target.write_text("precious")
    path.hardlink_to(target)


LOCKS = {
    "a link": _link,
    "a second name": _hard_link,
    "a link to nothing": lambda path, target: path.symlink_to(target),
    "a file": lambda path, _: path.write_text("precious"),
    "a folder": lambda path, _: path.mkdir(),
    "a pipe": lambda path, _: os.mkfifo(path),
    "a device": lambda path, _: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", LOCKS)
def test_lock_that_is_no_runs_is_refused_by_name_and_kept(tmp_path, kind):
    path, target = tmp_path / ".lock", tmp_path / "target"
    LOCKS[kind](path, target)
    with (
        pytest.raises(ValueError, match=r"Received: .*\.lock: "),
        locks.lock(tmp_path),
    ):
        pass
    if kind in ("a link", "a second name"):
        assert target.read_text() == "precious"
    else:
        assert not target.exists()


WORKERS = {"worker": ["a:1", "b:2"]}


def with_task(task):
    return json.dumps({"cluster": WORKERS, "task": task})


HOSTS = {
    "no JSON": "{cluster",
    "a list": "[]",
    "a number": "7",
    "cluster of a list": '{"cluster": ["a:1"]}',
    "hosts of a string": '{"cluster": {"worker": "a:1"}}',
    "no hosts": '{"cluster": {"worker": []}}',
    "no port": '{"cluster": {"worker": ["a"]}}',
    "unknown kind": '{"cluster": {"master": ["a:1"]}}',
    "two chiefs": '{"cluster": {"chief": ["a:1", "b:1"]}}',
    "no task": with_task(None),
    "task of a list": with_task([0]),
    "index too large": with_task({"type": "worker", "index": 2}),
    "index below 0": with_task({"type": "worker", "index": -1}),
    "index in words": with_task({"type": "worker", "index": "x"}),
    "task of another kind": with_task({"type": "ps", "index": 0}),
}


@pytest.mark.parametrize("what", HOSTS)
@pytest.mark.parametrize("kind", ["auto", "multi_worker"])
def test_tf_config_that_names_no_hosts_is_refused(monkeypatch, what, kind):
    monkeypatch.setenv("TF_CONFIG", HOSTS[what])
    with pytest.raises(ValueError, match="TF_CONFIG must name all hosts"):
        devices.make_strategy(kind)


def test_tf_config_without_a_cluster_means_this_host_alone(monkeypatch):
    for words in ("", "{}", '{"cluster": {}}', '{"task": {"index": 0}}'):
        monkeypatch.setenv("TF_CONFIG", words)
        assert devices.make_strategy("auto").num_replicas_in_sync == 1


def test_tf_config_as_tensorflow_takes_it_is_taken(monkeypatch):
    task = with_task({"type": "worker", "index": "1"})
    monkeypatch.setenv("TF_CONFIG", task)
    assert devices._cluster() == WORKERS
