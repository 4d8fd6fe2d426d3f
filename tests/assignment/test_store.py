"""Rows on the disk: complete, resumable, and of one key."""

import numpy as np
import pytest

from tfclust.assignment.store import RowStore, working_folder

COLUMNS = {"features": ("<f4", 3), "cluster": ("<i4", None)}


def rows(begin, end):
    numbers = np.arange(begin, end)
    return {
        "features": np.stack([numbers, -numbers, 2 * numbers], axis=1),
        "cluster": numbers,
    }


def test_rows_come_back_as_they_were_added(tmp_path):
    store = RowStore(tmp_path, {"a": 1}, COLUMNS)
    store.add(rows(0, 5))
    store.add(rows(5, 7))
    store.commit({})
    assert store.done == 7
    np.testing.assert_array_equal(store.column("cluster"), np.arange(7))
    expected = np.float32(rows(0, 7)["features"])
    np.testing.assert_array_equal(store.column("features"), expected)


def test_what_was_not_committed_is_written_again(tmp_path):
    store = RowStore(tmp_path, {"a": 1}, COLUMNS)
    store.add(rows(0, 4))
    store.commit({"gone.png": "no such file"})
    store.add(rows(90, 99))  # then the process is killed
    store.close()
    again = RowStore(tmp_path, {"a": 1}, COLUMNS)
    assert (again.done, again.notes) == (4, {"gone.png": "no such file"})
    again.add(rows(4, 6))
    again.commit(again.notes)
    np.testing.assert_array_equal(again.column("cluster"), np.arange(6))


@pytest.mark.parametrize("damage", ["key", "width", "cut", "garbled"])
def test_rows_of_something_else_or_damaged_ones_are_dropped(tmp_path, damage):
    store = RowStore(tmp_path, {"a": 1}, COLUMNS)
    store.add(rows(0, 4))
    store.commit({})
    store.close()
    key, columns = {"a": 1}, COLUMNS
    if damage == "key":
        key = {"a": 2}
    elif damage == "width":
        columns = COLUMNS | {"features": ("<f4", 4)}
    elif damage == "cut":
        (tmp_path / "features.rows").write_bytes(b"1234")
    else:
        (tmp_path / "done.json").write_text("[")
    assert RowStore(tmp_path, key, columns).done == 0


def test_second_process_is_refused(tmp_path):
    output = tmp_path / "a.csv"
    with (
        working_folder(output),
        pytest.raises(ValueError, match="written by another process"),
        working_folder(output),
    ):
        pass
