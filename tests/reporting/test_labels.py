import numpy as np

from tfclust.reporting.labels import table


def test_table_counts_every_known_label_once():
    clusters = np.random.default_rng(0).integers(7, size=300)
    labels = np.random.default_rng(1).integers(-1, 5, size=300)
    names, rows = table(clusters, labels, None)
    assert names == list("01234")
    for number, counts in rows:
        by_hand = [
            np.sum((clusters == number) & (labels == label))
            for label in range(5)
        ]
        assert counts == by_hand
    assert sum(sum(counts) for _, counts in rows) == np.sum(labels >= 0)


def test_no_table_is_made_of_thousands_of_clusters():
    clusters = np.random.default_rng(0).integers(3_000, size=5_000)
    assert table(clusters, np.zeros(5_000, int), None) is None
