"""The file of an evaluation's figures, whole or until it ended early."""

import json

import pytest

from tfclust.training import figures_file


def test_json_is_replaced_at_once_or_not_at_all(tmp_path):
    path = tmp_path / "new folder" / "evaluation.json"
    figures_file.write_json(path, {"trained": {}})

    with pytest.raises(TypeError):
        figures_file.write_json(path, {"trained": object()})

    assert json.loads(path.read_text()) == {"trained": {}}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_figures_until_a_failure_are_kept_and_others_not(tmp_path):
    path, said = tmp_path / "all.json", []

    def measured(error=None):
        with figures_file.so_far(path, said.append) as done:
            done("trained", "knn", None, {"top1": 0.5})
            if error is not None:
                raise error
            figures_file.write_json(path, {})

    for error in (ValueError("late"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            measured(error)
        (kept,) = tmp_path.iterdir()
        assert json.loads(kept.read_text()) == {
            "trained": {"knn": {"top1": 0.5}}
        }
        assert said.pop() == f"The figures until then are in {kept}."
    measured()
    assert [*tmp_path.iterdir()] == [path] and not said
