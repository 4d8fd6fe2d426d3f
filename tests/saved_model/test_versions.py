"""Versions count up; what a killed export left goes, what is foreign stays."""

import errno
import os

import pytest
import tensorflow as tf

from tests.support.disk import full_disk
from tfclust import saved_model
from tfclust.runtime import folders
from tfclust.saved_model import versions


def leftover(output, name, *files):
    folder = output / name
    (folder / "variables").mkdir(parents=True)
    for file in files:
        (folder / file).write_text("half")
    return folder


def fill(folder):
    (folder / "saved_model.pb").write_text("whole")


def test_versions_count_up_and_are_never_overwritten(tmp_path):
    def fill(folder):
        (folder / "saved_model.pb").write_bytes(b"x")

    (tmp_path / "notes").mkdir()
    (tmp_path / "7").mkdir()
    first = versions.write_next(tmp_path, fill)
    second = versions.write_next(tmp_path, fill)
    assert (first.name, second.name) == ("8", "9")
    assert not any((tmp_path / "7").iterdir())
    assert saved_model.newest_version(tmp_path) == second
    assert saved_model.newest_version(first) == first


def test_nothing_is_visible_before_it_is_complete(tmp_path):
    def fill(folder):
        (folder / "part").write_text("half")
        seen = [entry.name for entry in tmp_path.iterdir()]
        assert all(name.startswith(".") for name in seen)

    versions.write_next(tmp_path, fill)
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]


def test_number_taken_in_between_is_left_alone(tmp_path):
    def fill(folder):
        (folder / "mine").write_text("mine")
        # Another export finishes while this one writes: after the numbers
        # were read, as far as `rename` can tell.
        rival = tmp_path / "1"
        rival.mkdir()
        (rival / "theirs").write_text("theirs")

    counted = versions.version_numbers
    try:
        versions.version_numbers = lambda path: []
        mine = versions.write_next(tmp_path, fill)
    finally:
        versions.version_numbers = counted
    assert mine.name == "2"
    assert (tmp_path / "1" / "theirs").read_text() == "theirs"


@pytest.mark.parametrize(
    ("error", "told"),
    [(OSError, folders.DiskError), (KeyboardInterrupt, KeyboardInterrupt)],
)
def test_failed_write_leaves_nothing(tmp_path, error, told):
    def fill(folder):
        (folder / "part").write_text("half")
        raise error

    with pytest.raises(told):
        versions.write_next(tmp_path, fill)
    assert not any(tmp_path.iterdir())


def test_missing_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no SavedModel in .*nowhere"):
        saved_model.newest_version(tmp_path / "nowhere")


def test_next_export_removes_what_a_killed_one_left(tmp_path):
    leftover(tmp_path, ".writing-abcd_123", "saved_model.pb")
    leftover(tmp_path, ".writing-efgh4567")
    versions.write_next(tmp_path, fill)
    assert os.listdir(tmp_path) == ["1"]


def test_export_that_is_being_written_is_never_removed(tmp_path):
    def slow(folder):
        fill(folder)
        versions.write_next(tmp_path, fill)  # another one, meanwhile

    versions.write_next(tmp_path, slow)
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]
    for version in "12":
        whole = tmp_path / version / "saved_model.pb"
        assert whole.read_text() == "whole"


def test_what_no_export_wrote_stays(tmp_path):
    elsewhere = leftover(tmp_path, "elsewhere")
    foreign = [
        leftover(tmp_path, ".writing-abcd1234", "notes.txt"),
        leftover(tmp_path, ".writing-mine"),
        tmp_path / ".writing-abcd2345",
        tmp_path / ".writing-abcd3456",
    ]
    foreign[2].write_text("mine")
    foreign[3].symlink_to(elsewhere)
    versions.write_next(tmp_path, fill)
    assert all(path.exists() for path in foreign)


def test_nothing_is_removed_where_the_file_system_knows_no_locks(
    tmp_path, monkeypatch
):
    def refuse(*_):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(versions.locks.fcntl, "flock", refuse)
    left = leftover(tmp_path, ".writing-abcd1234", "saved_model.pb")
    assert versions.write_next(tmp_path, fill).name == "1"
    assert left.exists()


@pytest.mark.parametrize("limit", [0, 10, 2_000])
def test_full_disk_ends_an_export_with_one_sentence_and_leaves_nothing(
    tmp_path, limit
):
    """Within the graph, the variables and a file of our own."""
    module = tf.Module()
    module.kernel = tf.Variable(tf.ones([1000]))

    def save(folder):
        if limit == 10:
            (folder / "model_card.json").write_text("a card" * 100)
        tf.saved_model.save(module, str(folder))

    with (
        full_disk(limit),
        pytest.raises(
            folders.DiskError,
            match=f"SavedModel in {tmp_path} could not be written: File too l",
        ),
    ):
        versions.write_next(tmp_path, save)
    assert os.listdir(tmp_path) == []
