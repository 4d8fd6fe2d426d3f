import numpy as np

from tfclust.assignment.cards import MOST_PICTURES, cards


def assigned(num_images, num_clusters, seed=0):
    random = np.random.default_rng(seed)
    clusters = random.integers(num_clusters, size=num_images)
    return clusters, random.normal(size=num_images).astype(np.float32)


def test_surest_and_least_sure_images_stand_at_the_ends():
    clusters, confidence = assigned(500, 4)
    for cluster in cards(clusters, confidence):
        rows = np.flatnonzero(clusters == cluster.number)
        by_hand = rows[np.argsort(-confidence[rows])]
        assert cluster.size == len(rows)
        np.testing.assert_array_equal(cluster.nearest, by_hand[:8])
        np.testing.assert_array_equal(cluster.farthest, by_hand[::-1][:4])
        assert set(cluster.random) <= set(by_hand[8:-4])
        assert len(set(cluster.random)) == 4


def test_no_image_is_shown_twice_in_a_small_cluster():
    clusters, confidence = assigned(30, 10)
    for cluster in cards(clusters, confidence):
        shown = [*cluster.nearest, *cluster.random, *cluster.farthest]
        assert len(shown) == len(set(shown)) <= cluster.size


def test_pictures_are_bounded_for_any_number_of_clusters():
    for count in (1, 40, 400, 3000, 9000):
        found = cards(*assigned(10_000, count))
        shown = sum(
            len(c.nearest) + len(c.random) + len(c.farthest) for c in found
        )
        assert shown <= max(MOST_PICTURES, len(found))
        assert all(c.nearest for c in found)


def test_purity_is_the_share_of_the_commonest_known_label():
    clusters = np.array([0, 0, 0, 0, 1, 1])
    labels = np.array([2, 2, 1, -1, -1, -1])
    first, second = cards(
        clusters, np.zeros(6), labels=labels, class_names=("a", "b", "c")
    )
    assert (first.label, first.purity) == ("c", 2 / 3)
    assert (second.label, second.purity) == (None, None)


def test_no_images_make_an_empty_gallery():
    assert cards(np.zeros(0, int), np.zeros(0)) == []
