"""The table as files, and two tables side by side."""

import csv
import importlib.util

import numpy as np
import pytest

from tfclust.assignment import comparing, table

NAMES = ['a,"b".png', "two\nlines.png", "b\udcff.png", "<script>.png", "c\rd"]


def some(names=NAMES):
    n = len(names)
    return table.Table(
        names,
        np.arange(n) % 2,
        ["cats" if i % 2 else "" for i in range(n)],
        np.linspace(0, 1, n, dtype=np.float32),
        np.linspace(1, 0, n, dtype=np.float32),
        np.full(n, -1),
        np.arange(n) == 1,
        ["", names[0], *[""] * (n - 2)],
    )


def test_csv_has_a_row_for_each_name_whatever_it_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "_BLOCK", 2)
    path = tmp_path / "a.csv"
    table.write(path, some())
    with open(path, errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == NAMES
    assert tuple(rows[0]) == table.COLUMNS
    assert rows[1] == {
        "name": NAMES[1],
        "cluster": "1",
        "cluster_name": "cats",
        "confidence": "0.25",
        "distance": "0.750000",
        "second_choice": "",
        "outlier": "1",
        "duplicate_of": NAMES[0],
    }
    names, clusters, named = table.read(path)
    assert names == NAMES and clusters.tolist() == [0, 1, 0, 1, 0]
    assert named == {1: "cats"}


def test_parquet_has_the_same_rows(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(table, "_BLOCK", 2)
    path = tmp_path / "a.parquet"
    table.write(path, some())
    names, clusters, named = table.read(path)
    assert names == [*NAMES[:2], "b\\udcff.png", *NAMES[3:]]
    assert clusters.tolist() == [0, 1, 0, 1, 0] and named == {1: "cats"}


def test_absence_of_pyarrow_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install pyarrow"):
        table.check(tmp_path / "a.parquet")
    table.check(tmp_path / "a.csv")


@pytest.mark.parametrize("words", ["", "name\nx\n", "name,cluster\nx,cat\n"])
def test_other_files_are_no_tables(tmp_path, words):
    (tmp_path / "a.csv").write_text(words)
    if not words:
        assert table.read(tmp_path / "a.csv")[0] == []
        return
    with pytest.raises(ValueError, match="no table of clusters"):
        table.read(tmp_path / "a.csv")


def of(**clusters):
    """Names and clusters from `c7="a-k"`: letters in cluster 7."""
    names, ids = [], []
    for word, letters in clusters.items():
        first, last = letters.split("-")
        for code in range(ord(first), ord(last) + 1):
            names.append(chr(code))
            ids.append(int(word[1:]))
    return names, np.array(ids)


def test_same_split_merged_and_gone_clusters_are_told():
    old = of(c1="A-J", c2="K-T", c3="a-e", c4="f-j", c9="k-n")
    new = of(c7="A-I", c12="K-O", c40="P-T", c5="a-j", c8="k-l", c6="m-n")
    new = ([*new[0], "J"], np.r_[new[1], 12])
    found = comparing.compare(old, new)
    assert found.num_shared == 34
    assert found.same == [(1, 7, 0.9)]
    assert found.split == [(2, [12, 40]), (9, [6, 8])]
    assert found.merged == [([3, 4], 5)]
    assert (found.gone, found.new) == ([], [])
    lines = [*comparing.in_words(found, {1: "cats"})]
    assert "1 (cats) is now 7: 90% of both in common." in lines
    assert "2 split into 12 and 40." in lines
    assert "3 and 4 merged into 5." in lines


def test_scattered_clusters_are_gone_and_new():
    names = [chr(65 + i) for i in range(25)]
    old, new = np.arange(25) // 5, np.arange(25) % 5 + 10
    found = comparing.compare((names, old), (names, new))
    assert found.gone == [0, 1, 2, 3, 4] and found.new == [*range(10, 15)]
    assert not (found.same or found.split or found.merged)


def test_numbers_are_kept_where_most_images_are_shared():
    old = of(c1="A-J", c2="K-T", c3="a-f")
    new = of(c0="K-T", c5="A-H", c6="a-c", c7="I-J", c8="d-f")
    kept = comparing.kept_ids(old, new)
    assert kept[0] == 2 and kept[5] == 1 and 7 not in kept


def test_two_other_pairs_with_more_images_do_not_part_a_cluster_from_itself():
    """Old 0 and new 0 share 10 of 19; the other two pairs have 18 together."""
    names = [chr(65 + i) for i in range(28)]
    old = names, np.repeat([0, 0, 1], [10, 9, 9])
    new = names, np.repeat([0, 1, 0], [10, 9, 9])
    assert comparing.kept_ids(old, new) == {0: 0}
    assert comparing.kept_ids(new, old) == {0: 0}


def test_tables_without_common_images_are_refused():
    with pytest.raises(ValueError, match="share none. Received: 'A' and 'a'"):
        comparing.compare(of(c1="A-C"), of(c1="a-c"))
