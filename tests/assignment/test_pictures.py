"""Pictures of a page have room on it, whatever they show."""

import numpy as np

from tfclust import data
from tfclust.assignment import pictures


def test_pictures_shrink_until_they_have_room(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (20, 60, 60, 3), np.uint8)
    source = data.ArraySource(noise)
    large = pictures.pictures(source, range(20), {})
    room = sum(map(len, large.values())) // 2
    monkeypatch.setattr(pictures, "_MOST_BYTES", room)
    small = pictures.pictures(source, range(20), {})
    assert small.keys() == large.keys()
    assert sum(map(len, small.values())) <= room
    names = ["東京\udcff" * 50] * 20
    beside = 20 * (50 * (2 * 3 + 1) + 4)  # UTF-8, quotes and a comma
    monkeypatch.setattr(pictures, "_PAGE_BYTES", room + beside)
    assert pictures.pictures(source, range(20), names) == small
    smaller = pictures.pictures(source, range(20), [*names, "a" * room])
    assert sum(map(len, smaller.values())) < sum(map(len, small.values()))
