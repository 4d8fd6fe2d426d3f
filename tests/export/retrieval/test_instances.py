"""Objects are found again by what was learnt, end to end."""

import numpy as np
import pytest
from PIL import Image

from tests.benchmarks import bench_instances
from tests.support import image_files, instance_set


def test_generated_sets_repeat_and_have_oxfords_format(tmp_path):
    photos = [
        image_files.write(tmp_path, f"{i}.png", image_files.picture(90, 120))
        for i in range(5)
    ]
    for name in ("one", "two"):
        place = tmp_path / name
        instance_set.write(
            place / "set", place / "truth", photos[:2], photos[2:], views=3
        )
    files = sorted((tmp_path / "one" / "set").iterdir())
    assert len(files) == 2 * 3 + 3
    for file in files:
        again = tmp_path / "two" / "set" / file.name
        assert file.read_bytes() == again.read_bytes()
    truth = tmp_path / "one" / "truth"
    query = (truth / "object_001_query.txt").read_text().split()
    assert query[0] == "oxc1_object_001_00"
    assert (truth / "object_001_ok.txt").read_text() == "object_001_01\n"
    with Image.open(files[0]) as image:
        assert image.size == (instance_set.SIDE,) * 2
    first, second = (np.asarray(Image.open(f), float) for f in files[:2])
    assert np.abs(first - second).mean() > 5  # a view is not a copy


@pytest.mark.slow
def test_the_commands_lead_from_photos_to_objects_found(
    shared_data, tmp_path, monkeypatch
):
    """What learning is worth there, the benchmark measures."""
    del shared_data  # the benchmark knows the place
    monkeypatch.setattr(bench_instances, "RUNS", {"R-MAC": ("rmac", True)})
    found = bench_instances.measure(
        tmp_path, epochs=2, num_objects=10, views=3, num_others=10
    )
    figures = found["R-MAC"]
    assert list(figures) == ["trained", "untrained", "pixels"]
    # Of 39 images two are right: at random the mean is near 10.
    assert all(15 < of["mAP"] <= 100 for of in figures.values()), figures
