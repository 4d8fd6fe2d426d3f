"""Ground truth as Oxford and Paris have it, and what is refused."""

import json
import os
import pickle

import numpy as np
import pytest

from tfclust.retrieval import landmarks


def write_query(folder, name, query, good=(), ok=(), junk=()):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}_query.txt").write_text(f"{query}\n")
    for kind, names in (("good", good), ("ok", ok), ("junk", junk)):
        text = "".join(f"{n}\n" for n in names)
        (folder / f"{name}_{kind}.txt").write_text(text)


def test_original_files_are_read(tmp_path):
    box = "136.5 34.1 648.5 955.7"
    write_query(
        tmp_path, "hall_1", f"oxc1_hall_013 {box}", ["hall_013"], ["b"], ["c"]
    )
    write_query(tmp_path, "tower_2", "paris_tower_5 0 1 2 3", ["d"])
    first, second = landmarks.read(tmp_path).queries
    assert first.image == "hall_013"
    assert first.box == (136.5, 34.1, 648.5, 955.7)
    assert first.positives == {"": {"hall_013", "b"}}
    assert first.junk == {"": {"c"}}
    assert (second.image, second.junk) == ("paris_tower_5", {"": set()})


REVISITED = {
    "imlist": ["a", "b", "c", "d"],
    "qimlist": ["q"],
    "gnd": [
        {"bbx": [1, 2, 30, 40], "easy": [0], "hard": [1, 2], "junk": [3]},
    ],
}


@pytest.mark.parametrize("kind", ["json", "pkl", "arrays"])
def test_revisited_protocols_differ_in_what_counts(tmp_path, kind):
    path = tmp_path / f"gnd.{'json' if kind == 'json' else 'pkl'}"
    if kind == "json":
        path.write_text(json.dumps(REVISITED))
    else:
        truth = dict(REVISITED)
        if kind == "arrays":
            (of_query,) = REVISITED["gnd"]
            of_query = {k: np.array(v) for k, v in of_query.items()}
            truth["gnd"] = [of_query]
        path.write_bytes(pickle.dumps(truth, protocol=2))
    found = landmarks.read(path)
    (query,) = found.queries
    assert found.images == ["a", "b", "c", "d"]
    assert query.box == (1, 2, 30, 40)
    assert query.positives == {
        "Easy": {"a"},
        "Medium": {"a", "b", "c"},
        "Hard": {"b", "c"},
    }
    assert query.junk == {
        "Easy": {"b", "c", "d"},
        "Medium": {"d"},
        "Hard": {"a", "d"},
    }


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "gnd.pkl"
    path.write_bytes(pickle.dumps({"imlist": Harmful()}))
    with pytest.raises(ValueError, match="mkdir, which no ground truth needs"):
        landmarks.read(path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "files, error, words",
    [
        ({}, ValueError, "Found none"),
        ({"a_query.txt": "x 1 2 3"}, ValueError, "four numbers of a box"),
        ({"a_query.txt": "x 1 2 3 4"}, FileNotFoundError, "a_good.txt is miss"),
    ],
)
def test_wrong_folders_are_refused(tmp_path, files, error, words):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(error, match=words):
        landmarks.read(tmp_path)


def test_wrong_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="Found nothing"):
        landmarks.read(tmp_path / "none.pkl")
    for name, data in (("a.json", b"{"), ("b.json", b"{}"), ("c.pkl", b"x")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match="must hold imlist"):
            landmarks.read(tmp_path / name)
