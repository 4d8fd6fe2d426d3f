"""Near duplicates and the choice of images."""

import numpy as np
import pytest

from tests.support.assigned import (
    blobs,
    compute,
    model,
    photos,
    unit_features,
)
from tfclust import data
from tfclust.assignment import duplicates, picking


def with_copies(noise=1e-3, seed=0):
    """Blobs, some rows of which occur again, almost; and copy -> original."""
    features, labels = blobs(4, each=50)
    rows = features.take(np.arange(200))
    random = np.random.default_rng(seed)
    originals = random.choice(200, 30, replace=False)
    copies = rows[originals] + noise * random.normal(size=(30, 32))
    copies /= np.linalg.norm(copies, axis=1, keepdims=True)
    everything = np.concatenate([rows, copies])
    labels = np.concatenate([labels, labels[originals]])
    return unit_features(everything), labels, originals


def test_copies_name_their_original_and_nothing_else_does(monkeypatch):
    monkeypatch.setattr(duplicates, "_BLOCK", 16)
    features, labels, originals = with_copies()
    second = (labels + 1) % 4
    found = duplicates.find(features, labels, second, 1e-4)
    np.testing.assert_array_equal(found[200:], originals)
    assert (found[:200] == -1).all()


def test_copy_in_the_next_cluster_is_found():
    features, labels, originals = with_copies()
    second = np.full(230, -1)
    second[200:] = labels[200:]
    labels[200:] = 4  # a border runs between
    found = duplicates.find(features, labels, second, 1e-4)
    np.testing.assert_array_equal(found[200:], originals)


@pytest.mark.parametrize("clusters", [1, 2])
def test_nine_of_ten_copies_in_a_very_large_cluster_are_found(
    monkeypatch, clusters
):
    """The cluster is in parts, and a border parts some copies."""
    monkeypatch.setattr(duplicates, "_LARGE", 60)
    monkeypatch.setattr(duplicates, "_PART", 32)
    features, labels, originals = with_copies(noise=0.01)
    second = np.full(230, -1)
    labels[:] = 0
    if clusters == 2:  # every copy is beyond its original's border
        labels[200:] = 1
        second[200:] = 0
    parts, *_ = duplicates._in_parts(features, labels, second)
    assert np.bincount(parts[:200]).max() < 100
    apart = parts[200:] != parts[originals]
    found = duplicates.find(features, labels, second, 0.004)
    right = found[200:] == originals
    assert right.mean() >= 0.9 and right[apart].any()
    assert (found[:200] == -1).all() and (found[200:][~right] == -1).all()


def test_all_duplicates_name_an_image_that_is_none():
    """Rows on a quarter circle, each near the next: no chain of them."""
    angles = np.linspace(0, np.pi / 2, 91)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    labels, second = np.zeros(91, int), np.full(91, -1)
    reach = 1 - np.cos(np.deg2rad(3.5))
    found = duplicates.find(unit_features(rows), labels, second, reach)
    expected = np.arange(91) // 4 * 4
    expected[expected == np.arange(91)] = -1
    np.testing.assert_array_equal(found, expected)


def test_known_images_are_named():
    features, _, originals = with_copies()
    rows = features.take(np.arange(230))
    found = duplicates.known(
        unit_features(rows[200:]), unit_features(rows[:200]), 1e-4
    )
    np.testing.assert_array_equal(found, originals)
    found = duplicates.known(
        unit_features(rows[:50]), unit_features(rows[100:200]), 1e-4
    )
    assert (found == -1).all()


def test_measured_distance_is_that_of_slight_changes(tmp_path):
    source = photos(tmp_path, count=40)
    rows = np.arange(0, 40, 2)
    images = data.ImagePass(
        lambda x: (compute(x)["features"], compute(x * 1.1)["features"]),
        source,
        image_size=8,
        resize_size=8,
    ).run()
    own, brighter = (unit_features(part[rows]) for part in images)
    found = duplicates.measured_distance(model(), source, rows, own)
    assert 1e-4 < found < 0.1
    own, brighter = (f.take(np.arange(20)) for f in (own, brighter))
    apart = 1 - (own * brighter).sum(axis=1)
    assert 0.1 < np.median(apart) / found < 10
    alike = unit_features(np.ones([20, 48]))  # tell nothing apart
    found = duplicates.measured_distance(model(), source, rows, alike)
    assert found == pytest.approx(1e-6)


def test_choice_takes_turns_among_clusters_the_middle_first():
    features, labels = blobs(3, each=20)
    labels = labels[: 20 + 15 + 10] * 0 + np.repeat([0, 1, 2], [20, 15, 10])
    rows = features.take(np.r_[0:20, 20:35, 40:50])
    distance = np.random.default_rng(0).random(45)
    none = np.zeros(45, bool)
    chosen = picking.pick(unit_features(rows), labels, distance, none, 9)
    assert labels[chosen].tolist() == [0, 1, 2] * 3
    for k in range(3):
        members = np.flatnonzero(labels == k)
        of_k = [i for i in chosen if labels[i] == k]
        assert of_k[0] == members[distance[members].argmin()]
        for step in (1, 2):
            nearest = (rows[members] @ rows[of_k[:step]].T).max(axis=1)
            nearest[np.isin(members, of_k[:step])] = np.inf
            assert of_k[step] == members[nearest.argmin()]


def test_duplicates_and_outliers_are_chosen_last():
    features, labels = blobs(2, each=10)
    left_out = np.arange(20) % 2 == 0
    chosen = picking.pick(features, labels, np.zeros(20), left_out, 99)
    assert sorted(chosen) == list(range(20))
    assert not left_out[chosen[:10]].any() and left_out[chosen[10:]].all()
