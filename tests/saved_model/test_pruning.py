"""Old versions go; never the newest, nor one that a server is told to load."""

import concurrent.futures
import os
import shutil

import pytest

from tfclust.runtime import locks
from tfclust.saved_model import labels, newest_version, pruning

CONFIG = """model_config_list {{ # by hand
  config: < name: 'mine', base_path: "/models/\\"mine\\"";
    model_version_policy {{ specific {{ versions: 2 }} }}
    version_labels {{ key: "stable" value: {stable} }}
  >
}}
"""


@pytest.fixture
def folder(tmp_path):
    """Five versions."""
    for number in range(1, 6):
        version(tmp_path, number)
    return tmp_path


def version(folder, number):
    path = folder / str(number)
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"graph")
    return path


def write_config(folder, words):
    (folder / "serving").mkdir()
    (folder / labels.CONFIG).write_text(words)


def left(folder):
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


@pytest.mark.parametrize("keep", [1, 2, 5, 9])
def test_so_many_of_the_newest_stay(folder, keep):
    gone = pruning.prune(folder, keep)
    assert left(folder) == list(range(max(1, 6 - keep), 6))
    assert gone == list(range(1, max(1, 6 - keep)))
    assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []


def test_versions_that_models_config_names_stay(folder):
    write_config(folder, CONFIG.format(stable=1))
    assert labels.read(folder) == labels.Labels({"stable": 1}, (2,))
    assert pruning.prune(folder, 1) == [3, 4]
    assert left(folder) == [1, 2, 5]


@pytest.mark.parametrize(
    "words",
    ["{", "model_config_list }", "version_labels { key: 'a' }", "= 3",
     "version_labels { key: 'a' value: x }", "specific: 3 { : }"],
)  # fmt: skip
def test_nothing_goes_if_models_config_cannot_be_read(folder, words, capsys):
    write_config(folder, words)
    assert pruning.prune(folder, 1) == []
    assert left(folder) == [1, 2, 3, 4, 5]
    assert "No version was removed" in capsys.readouterr().out


def test_a_version_with_files_of_somebody_else_stays(folder):
    (folder / "2" / "notes.txt").write_text("mine")
    assert pruning.prune(folder, 1) == [1, 3, 4]
    assert left(folder) == [2, 5]


def test_a_damaged_newest_version_does_not_count(folder):
    (folder / "5" / "saved_model.pb").unlink()
    assert pruning.prune(folder, 1) == [1, 2, 3]
    assert left(folder) == [4, 5]


def test_at_least_one_version_stays(folder):
    with pytest.raises(ValueError, match="keep_versions must be at least 1"):
        pruning.prune(folder, 0)
    assert newest_version(folder).name == "5"


def test_a_removal_that_was_killed_is_finished_by_the_next_export(
    folder, monkeypatch
):
    from tfclust.saved_model import versions

    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pruning.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            pruning.prune(folder, 4)
    assert left(folder) == [2, 3, 4, 5]  # a server sees no half version
    versions.write_next(
        folder, lambda path: (path / "saved_model.pb").write_bytes(b"new")
    )
    assert left(folder) == [2, 3, 4, 5, 6]
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_two_exports_that_prune_do_not_meet(folder):
    lock = locks.held(folder)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        other = pool.submit(pruning.prune, folder, 2)
        with pytest.raises(concurrent.futures.TimeoutError):
            other.result(timeout=0.1)
        assert left(folder) == [1, 2, 3, 4, 5]
        os.close(lock)
        assert other.result(timeout=30) == [1, 2, 3]


@pytest.mark.parametrize("where", ["is_ours", "rename"])
def test_a_version_that_vanishes_meanwhile_is_no_error(
    folder, monkeypatch, where
):
    """On a file system without locks, another export may remove it."""
    place = pruning if where == "is_ours" else pruning.os
    act = getattr(place, where)

    def late(path, *more):
        if path.name == "2":
            shutil.rmtree(path)
        return act(path, *more)

    monkeypatch.setattr(place, where, late)
    assert pruning.prune(folder, 2) == [1, 3]
    assert left(folder) == [4, 5]
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]
