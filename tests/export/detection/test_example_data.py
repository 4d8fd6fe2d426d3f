"""The example's boxes, and what its benchmark may conclude."""

import numpy as np
import pytest

from export.detection import annotated, example_data
from export.detection.example_data import ExampleConfig
from tests.benchmarks import bench_detection
from tfclust.cli import flags


def test_example_is_a_voc_folder_whose_boxes_hold_the_ink(tmp_path):
    flags.define(ExampleConfig)
    words = ["x.py", f"--output={tmp_path}/a", "--train=4", "--test=2"]
    assert flags.status(example_data.main, words) == 0
    for split, count in (("train", 4), ("test", 2)):
        uri = f"voc:{tmp_path}/a?split={split}"
        data = annotated.open_annotated(uri, max_bad_share=0)
        assert len(data.names) == count and not data.left_out
        assert set(data.class_names) <= set(example_data._NAMES)
    flags.define(ExampleConfig)
    assert flags.status(example_data.main, words) == 2  # it is not empty


def test_scenes_have_ink_in_boxes_and_none_between():
    digits = np.zeros([1, 8, 8], np.uint8)
    digits[0, 1:7, 2:6] = 255
    config = ExampleConfig(output="x")
    rng = np.random.default_rng(0)
    for _ in range(5):
        picture, objects = example_data.scene(digits, [3], config, rng)
        outside = picture.copy()
        for label, (left, top, right, bottom) in objects:
            part = picture[top:bottom, left:right]
            assert label == 3 and np.median(part) > 200
            # The edge of a digit fades over some pixels beyond its box.
            outside[top - 3 : bottom + 3, left - 3 : right + 3] = 0
        assert outside.max() < 128


@pytest.mark.parametrize(
    ("trained", "random", "told"),
    [
        ([0.05, 0.30], [0.30, 0.31], "inconclusive: a gain"),
        ([0.50, 0.52], [0.02, 0.03], "below the floor"),
        ([0.50], [0.30], "one seed"),
        ([0.50, 0.52], [0.30, 0.33], "tfclust is better by 19.5"),
        ([0.30, 0.33], [0.50, 0.52], "random is better by 19.5"),
    ],
)
def test_verdict_needs_a_floor_and_more_than_the_spread(trained, random, told):
    assert told in bench_detection.verdict(trained, random)
