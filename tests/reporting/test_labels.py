import numpy as np

from tfclust.reporting.labels import table


def test_table_counts_every_known_label_once():
    clusters = np.random.default_rng(0).integers(7, size=300)
    labels = np.random.default_rng(1).integers(-1, 5, size=300)
    names, rows, left_out = table(clusters, labels, None)
    assert names == list("01234") and not left_out
    for number, counts in rows:
        by_hand = [
            np.sum((clusters == number) & (labels == label))
            for label in range(5)
        ]
        assert counts == by_hand
    assert sum(sum(counts) for _, counts in rows) == np.sum(labels >= 0)


def test_of_thousands_of_clusters_the_largest_have_a_row():
    clusters = np.random.default_rng(0).integers(3_000, size=5_000)
    sizes = np.bincount(clusters)
    _, rows, left_out = table(clusters, np.zeros(5_000, int), None)
    assert len(rows) == 100 and left_out == np.count_nonzero(sizes) - 100
    smallest = min(counts[0] for _, counts in rows)
    assert smallest >= np.sort(sizes)[-100]
    assert all(counts == [sizes[number]] for number, counts in rows)


def test_no_table_is_made_of_many_labels():
    labels = np.arange(41)
    assert table(np.zeros(41, int), labels, None) is None
