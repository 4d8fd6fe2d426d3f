"""The nearest rows, exactly and by faiss, against a plain sort."""

import numpy as np
import pytest

from export.retrieval import duplicates, nearest, store
from tests.support.marks import slow
from tests.support.retrieval import clustered_rows

faiss = pytest.importorskip("faiss")
COUNT, WIDTH = 24_000, 16


def oracle(rows, queries, top):
    scores = queries @ rows.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return np.take_along_axis(scores, order, axis=1), order


@pytest.mark.parametrize("cuts", [[], [1], [700, 701, 2000]])
def test_exact_search_equals_a_sort_over_any_blocks(cuts, monkeypatch):
    monkeypatch.setattr(nearest, "_BLOCK", 300)
    rows = clustered_rows(2_500, 8)
    queries = clustered_rows(40, 8, seed=1)
    found = nearest.exact(np.split(rows, cuts), queries, 7)
    scores, order = oracle(rows, queries, 7)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    np.testing.assert_array_equal(found.rows, order)


def test_exact_search_equals_faiss():
    rows, queries = clustered_rows(3_000, 32), clustered_rows(20, 32, seed=1)
    index = faiss.IndexFlatIP(32)
    index.add(rows)
    scores, order = index.search(queries, 5)
    found = nearest.exact([rows], queries, 5)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    np.testing.assert_array_equal(found.rows, order)


@pytest.mark.parametrize(
    "kind, in_pieces",
    [
        (nearest.FLAT, True),
        (nearest.SQ8, False),
        slow(nearest.FLAT, False),
        slow(nearest.SQ8, True),
    ],
)
def test_lists_find_95_percent_with_exact_scores(
    kind, in_pieces, tmp_path, monkeypatch
):
    if in_pieces:  # as an index that does not fit into memory is built
        monkeypatch.setattr(nearest, "BUDGET_BYTES", 500_000)
    # Queries like the rows, and not among them; and queries of other groups.
    rows, queries = np.split(clustered_rows(COUNT + 200, WIDTH), [COUNT])
    others = clustered_rows(200, WIDTH, seed=1)
    blocks = np.array_split(rows, 7)
    about = nearest.build(kind, blocks, tmp_path, "nearest-1")
    assert (len(about["files"]) > 1) == in_pieces
    assert {path.name for path in tmp_path.iterdir()} == set(about["files"])
    # As a reader finds it, also if the folder has moved.
    moved = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    searcher = nearest.searcher(moved, blocks, about)
    for asked in (others, queries):
        found = searcher.search(asked, 10)
        scores, _ = oracle(rows, asked, 10)
        assert (found.scores >= scores[:, -1:] - 1e-6).mean() >= 0.95
    own = np.einsum("qtf,qf->qt", rows[found.rows], queries)
    np.testing.assert_allclose(found.scores, own, atol=1e-5)
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_kind_follows_the_number_of_rows(monkeypatch):
    assert nearest.choose(20_000, 2048) == nearest.EXACT
    assert nearest.choose(20_001, 128) == nearest.FLAT
    assert nearest.choose(1_000_000, 128) == nearest.FLAT
    assert nearest.choose(1_000_000, 2048) == nearest.SQ8
    assert nearest.choose(10, 8, nearest.SQ8) == nearest.SQ8
    monkeypatch.setattr(nearest, "has_faiss", lambda: False)
    assert nearest.choose(10**6, 128) == nearest.EXACT
    with pytest.raises(ValueError, match=r"tfclust\[retrieval\]"):
        nearest.choose(10, 8, nearest.FLAT)


def test_without_faiss_its_index_is_searched_exactly(tmp_path, monkeypatch):
    rows = clustered_rows(2_000, 8)
    about = nearest.build(nearest.FLAT, [rows], tmp_path, "nearest-1")
    monkeypatch.setattr(nearest, "has_faiss", lambda: False)
    searcher = nearest.searcher(tmp_path, [rows], about)
    assert "faiss is not installed" in searcher.notice
    scores, _ = oracle(rows, rows[:5], 3)
    found = searcher.search(rows[:5], 3)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)


def test_a_few_rows_can_be_indexed_by_lists(tmp_path):
    rows = clustered_rows(3, 8)
    about = nearest.build(nearest.SQ8, [rows], tmp_path, "nearest-1")
    found = nearest.searcher(tmp_path, [rows], about).search(rows, 10)
    assert found.rows.shape == (3, 3)
    np.testing.assert_array_equal(found.rows[:, 0], [0, 1, 2])


def test_duplicates_are_told_apart_without_a_look_at_each_pair(tmp_path):
    """Of equal images, each has eight pairs."""
    random = np.random.default_rng(0)
    rows = np.ones([40, 2], np.float32) / np.sqrt(2, dtype=np.float32)

    class Counted(list):
        looks = 0

        def __getitem__(self, place):
            self.looks += 1
            return super().__getitem__(place)

    keys = Counted(
        (
            f"folder:{random.integers(2)}",
            store.Key(f"{random.integers(4)}", int(digest), 7),
        )
        for digest in random.integers(0, 3, 40)
    )
    searcher = nearest.Searcher([rows])
    found = duplicates.find(searcher, keys, [rows], 0.99)
    assert len(found.scores) > 200 and keys.looks == 0
    for one, two, same, across in zip(*found[1:], strict=True):
        (uri, key), (other_uri, other) = keys[one], keys[two]
        if key.digest and other.digest:
            assert same == (key.digest == other.digest)
        else:
            assert same == (key.digest == other.digest == 0
                            and key.name == other.name)  # fmt: skip
        assert across == (uri != other_uri)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "MOST_PAIRS", 10)
        duplicates.write(tmp_path / "table.tsv", found, keys)
    assert len((tmp_path / "table.tsv").read_text().splitlines()) == 11
