"""Pictures of a page have room on it, whatever they show."""

import numpy as np

from tfclust import data
from tfclust.assignment import pictures


def test_pictures_shrink_until_they_have_room(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (20, 60, 60, 3), np.uint8)
    source = data.ArraySource(noise)
    large = pictures.pictures(source, range(20))
    room = sum(map(len, large.values())) // 2
    monkeypatch.setattr(pictures, "_MOST_BYTES", room)
    small = pictures.pictures(source, range(20))
    assert small.keys() == large.keys()
    assert sum(map(len, small.values())) <= room
