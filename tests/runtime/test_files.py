"""Files that are whole or not there."""

import os

import pytest

from tfclust.runtime import files


def test_file_is_replaced_at_once_or_not_at_all(tmp_path):
    path = tmp_path / "figures"
    files.write_text(path, "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    with pytest.raises(RuntimeError), files.replacing(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == "ä\n".encode()
    assert os.listdir(tmp_path) == ["figures"]


def test_partial_names_are_hidden_beside_the_file_and_never_the_same(tmp_path):
    names = {files.partial_name(tmp_path / "a.txt") for _ in range(10)}
    assert len(names) == 10
    for path in names:
        assert path.parent == tmp_path
        assert path.name.startswith(".a.txt.")


def test_lines_are_appended(tmp_path):
    for line in ("one", "two"):
        files.append_line(tmp_path / "list", line)
    assert (tmp_path / "list").read_text() == "one\ntwo\n"
    files.flush(tmp_path / "list")
    files.flush(tmp_path)
