"""A checkpoint that may be whole, and what no run wrote, is never deleted."""

import builtins
import errno
import hashlib
import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from tests.support.commands import TINY, status
from tfclust.runs import checkpoints
from tfclust.runs.checkpoint_reading import FORMAT
from tfclust.training import pretraining

ARRAYS = {"kernel": np.arange(6.0), "step": np.int64(7)}


def saved(workdir, *steps):
    return [checkpoints.save(workdir, step, ARRAYS, keep=9) for step in steps]


def with_format(path, number):
    """The manifest as another version would write it."""
    file = path / "manifest.json"
    manifest = {**json.loads(file.read_text()), "format": number}
    if number != FORMAT:
        manifest["arrays"] = {"another": "layout"}
    file.write_text(json.dumps(manifest))


def without_leave(monkeypatch, name, error):
    """Opening a file of that name fails; root may read what chmod forbids."""
    real = builtins.open

    def refusing(path, *rest, **knobs):
        if pathlib.Path(str(path)).name == name:
            raise error
        return real(path, *rest, **knobs)

    monkeypatch.setattr(builtins, "open", refusing)


def everything(folder):
    """All files below a folder, with a digest of each."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


REASONS = {
    "an older format": lambda path, _: with_format(path, 2),
    "a newer format": lambda path, _: with_format(path, 99),
    "no leave": lambda _, patch: without_leave(
        patch, "arrays.npz", PermissionError(errno.EACCES, "Permission denied")
    ),
    "no leave for the manifest": lambda _, patch: without_leave(
        patch,
        "manifest.json",
        PermissionError(errno.EACCES, "Permission denied"),
    ),
    "a failing disk": lambda _, patch: without_leave(
        patch, "arrays.npz", OSError(errno.EIO, "Input/output error")
    ),
    "memory short at once": lambda _, patch: without_leave(
        patch, "arrays.npz", MemoryError()
    ),
    "memory short within": lambda _, patch: patch.setattr(
        np.lib.format, "read_array", lambda *_, **__: np.empty(10**15)
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_whole_checkpoint_that_cannot_be_read_now_refuses(
    tmp_path, monkeypatch, reason
):
    _, newest = saved(tmp_path, 5, 10)
    REASONS[reason](newest, monkeypatch)
    with pytest.raises(
        checkpoints.UnreadableCheckpoint, match="0000000010 cannot be read now"
    ):
        checkpoints.latest(tmp_path)


def test_training_refuses_it_with_one_line_and_changes_nothing(
    tmp_path, capsys
):
    (path,) = saved(tmp_path, 5)
    with_format(path, 99)
    before = everything(tmp_path)
    arguments = [*TINY, "--epochs=1", f"--workdir={tmp_path}", "--start_anew"]
    assert status("train", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "format 99" in line and f"reads format {FORMAT}" in line
    (tmp_path / ".lock").unlink()
    assert everything(tmp_path) == before


def test_checkpoints_on_a_disk_that_is_away_refuse(tmp_path):
    (path,) = saved(tmp_path / "disk", 5)
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / path.name).symlink_to(path)
    assert checkpoints.latest(run).step == 5
    other = tmp_path / "other"
    other.mkdir()
    (other / "checkpoints").symlink_to(path.parent)
    assert checkpoints.latest(other).step == 5
    shutil.rmtree(tmp_path / "disk")
    for workdir in (run, other):
        with pytest.raises(checkpoints.UnreadableCheckpoint, match="No such"):
            checkpoints.latest(workdir)


def test_folder_of_checkpoints_that_cannot_be_listed_refuses(
    tmp_path, monkeypatch
):
    saved(tmp_path, 5)

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(checkpoints.UnreadableCheckpoint, match="Permission"):
        checkpoints.latest(tmp_path)


def _cut(path):
    file = path / "arrays.npz"
    file.write_bytes(file.read_bytes()[:-50])


def _flip(path):
    file = path / "arrays.npz"
    content = bytearray(file.read_bytes())
    content[content.index(ARRAYS["kernel"].tobytes()) + 5] ^= 1
    file.write_bytes(bytes(content))


def _claim_a_huge_array(path):
    """Damage that would ask for a petabyte is damage, not a lack of memory."""
    file = path / "arrays.npz"
    content = file.read_bytes()
    shape, huge = b"(6,), }" + b" " * 9, b"(600000000000,)}"
    assert content.count(shape) == 1
    file.write_bytes(content.replace(shape, huge))


def _a_file(path):
    shutil.rmtree(path)
    path.write_text("mine")


DAMAGES = [_cut, _flip, _claim_a_huge_array, _a_file]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_passed_over_with_a_word(tmp_path, damage):
    _, newest = saved(tmp_path, 5, 10)
    damage(newest)
    sentences = []
    assert checkpoints.latest(tmp_path, say=sentences.append).step == 5
    (sentence,) = sentences
    assert "damaged" in sentence and "0000000010" in sentence


@pytest.mark.parametrize("damage", DAMAGES)
def test_all_damaged_refuse_unless_told_to_start_anew(tmp_path, damage):
    for path in saved(tmp_path, 5, 10):
        damage(path)
    before = everything(tmp_path)
    with pytest.raises(
        checkpoints.DamagedCheckpoint,
        match="damaged checkpoints: 2,.*--start_anew",
    ):
        checkpoints.latest(tmp_path, say=lambda _: None)
    assert checkpoints.latest(tmp_path, start_anew=True) is None
    assert everything(tmp_path) == before


def test_saving_moves_newer_checkpoints_aside_and_deletes_none(tmp_path):
    _, newer, damaged = saved(tmp_path, 5, 10, 15)
    _cut(damaged)
    kept = everything(newer), everything(damaged)
    sentences = []
    checkpoints.save(tmp_path, 7, ARRAYS, keep=1, say=sentences.append)
    checkpoints.save(tmp_path, 10, ARRAYS, keep=1, say=sentences.append)
    folder = tmp_path / "checkpoints"
    assert sorted(os.listdir(folder)) == [
        "0000000010",
        "0000000010.aside",
        "0000000015.aside",
    ]
    aside = [newer.with_suffix(".aside"), damaged.with_suffix(".aside")]
    assert tuple(map(everything, aside)) == kept
    assert len(sentences) == 2 and all("aside" in s for s in sentences)
    assert checkpoints.latest(tmp_path).step == 10


def test_saving_removes_nothing_that_no_run_wrote(tmp_path):
    """Only older checkpoints and half-written ones go, and these are whole."""
    first, second = saved(tmp_path, 1, 2)
    folder = first.parent
    (first / "notes.txt").write_text("mine")
    linked = tmp_path / "elsewhere"
    second.rename(linked)
    second.symlink_to(linked)
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text("mine")
    (folder / "2024").mkdir()  # no name of ours: ten digits
    (folder / "2024" / "a.txt").write_text("mine")
    (folder / "1²").mkdir()
    (folder / ".mine.partial").write_text("mine")
    (folder / ".0000000003.partial").write_text("mine")
    (folder / ".0000000004.partial").mkdir()
    (folder / ".0000000004.partial" / "mine.txt").write_text("mine")
    (folder / ".0000000009.partial").mkdir()
    (folder / ".0000000009.partial" / "arrays.npz").write_text("half")
    (folder / "0000000003").write_text("mine")
    for step in (3, 4, 5):
        checkpoints.save(tmp_path, step, ARRAYS, keep=1, say=lambda _: None)
    assert sorted(os.listdir(folder)) == [
        ".0000000003.partial.aside",
        ".0000000004.partial.aside",
        ".mine.partial",
        "0000000001.aside",
        "0000000002.aside",
        "0000000003.aside",
        "0000000005",
        "1²",
        "2024",
        "notes",
    ]
    assert (folder / "0000000001.aside/notes.txt").read_text() == "mine"
    assert checkpoints.load(linked).step == 2


def test_old_checkpoint_that_cannot_be_removed_ends_no_run(
    tmp_path, monkeypatch
):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "x")

    saved(tmp_path, 1)
    monkeypatch.setattr(shutil, "rmtree", refuse)
    sentences = []
    checkpoints.save(tmp_path, 2, ARRAYS, keep=1, say=sentences.append)
    assert "could not be removed: Permission denied" in sentences[0]


def test_checkpoint_that_its_run_removes_meanwhile_is_no_damage(
    tmp_path, monkeypatch
):
    """An evaluation reads beside a run that trains on."""
    saved(tmp_path, 5)
    real = checkpoints.load

    def late(path):
        if path.name == "0000000005":
            checkpoints.save(tmp_path, 10, ARRAYS, keep=1)
        return real(path)

    monkeypatch.setattr(checkpoints, "load", late)
    sentences = []
    assert checkpoints.latest(tmp_path, say=sentences.append).step == 10
    assert sentences == []


def test_file_in_the_place_of_the_checkpoints_is_refused_at_once(
    tmp_path, capsys
):
    (tmp_path / "checkpoints").write_text("mine")
    arguments = [*TINY, "--epochs=1", f"--workdir={tmp_path}"]
    assert status("train", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "checkpoints must be a folder" in line
    assert (tmp_path / "checkpoints").read_text() == "mine"


def test_what_is_left_of_a_damaged_run_is_moved_aside_with_a_word(tmp_path):
    for path in saved(tmp_path, 4, 8):
        _cut(path)
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "metrics.jsonl").write_text("figures\n")
    sentences = []
    pretraining._clear(tmp_path, sentences.append)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == [
        "0000000004.aside",
        "0000000008.aside",
    ]
    assert (tmp_path / "tensorboard.aside").is_dir()
    assert (tmp_path / "metrics.jsonl.aside").read_text() == "figures\n"
    assert len(sentences) == 4


@pytest.mark.slow
def test_a_run_starts_anew_only_when_told_and_loses_nothing(tmp_path, capsys):
    """And its folder's foreign files stay, or are moved aside with a word."""
    for path in saved(tmp_path, 4, 8):
        _cut(path)
    (tmp_path / "tensorboard").write_text("mine")
    (tmp_path / "metrics.jsonl").write_text("mine\n")
    (tmp_path / "skipped.txt").write_bytes(b"\xff mine\n")
    before = everything(tmp_path)
    arguments = [*TINY, "--steps=4", "--knn_images=0", f"--workdir={tmp_path}"]
    assert status("train", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("train: ") and "--start_anew" in line
    (tmp_path / ".lock").unlink()
    assert everything(tmp_path) == before
    assert status("train", *arguments, "--start_anew") == 0
    out = capsys.readouterr().out
    after = everything(tmp_path)
    for name, digest in before.items():
        first, *rest = pathlib.PurePath(name).parts
        if first == "checkpoints":
            first, rest = f"checkpoints/{rest[0]}", rest[1:]
        moved = "/".join([f"{first}.aside", *rest])
        assert after[moved] == digest
        assert f"{pathlib.PurePath(first).name}.aside" in out
    assert checkpoints.latest(tmp_path).step == 4
    assert pretraining.load_run(tmp_path).step == 4
    # Once there is an intact one, the flag is not a reason to ignore it.
    assert status("train", *arguments, "--start_anew") == 0
    out = capsys.readouterr().out
    assert "start_anew changes nothing" in out and "Finished already" in out
    assert "--start_anew=false" in (tmp_path / "config.flags").read_text()
