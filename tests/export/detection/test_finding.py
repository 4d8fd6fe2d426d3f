"""What a detector is given of images, and what is drawn of its answers."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export.detection import detect, finding
from tests.support.image_files import encoded


def red_boxes(image_bytes):
    """Answers as a detector that finds the red part of each image."""
    boxes = []
    for data in image_bytes.numpy():
        image = tf.io.decode_image(data, channels=3).numpy().astype(int)
        rows, columns = np.nonzero(image[..., 0] - image[..., 1] > 100)
        boxes.append([[columns.min(), rows.min(), columns.max() + 1,
                       rows.max() + 1]])  # fmt: skip
    count = len(boxes)
    found = {
        "boxes": tf.constant(boxes, tf.float32),
        "classes": tf.zeros([count, 1], tf.int32),
        "scores": tf.ones([count, 1]),
        "num_boxes": tf.ones([count], tf.int32),
        "status": tf.constant([b"ok"] * count),
    }
    return found


@pytest.fixture
def find(monkeypatch, tmp_path):
    """Runs the command's work with `red_boxes`; rows of --boxes by name."""
    detector = finding.Detector(pathlib.Path("red/1"), red_boxes, ["red"])
    monkeypatch.setattr(finding, "load", lambda path: detector)

    def run(images):
        config = detect.DetectConfig(
            detector="red", images=str(images), output="unused"
        )
        page, boxes = tmp_path / "page.html", tmp_path / "boxes.jsonl"
        finding.find(config, page, boxes)
        rows = [json.loads(line) for line in boxes.read_text().splitlines()]
        return {row["image"]: row["boxes"] for row in rows}, page.read_text()

    return run


def test_images_are_searched_as_people_see_them(find, tmp_path):
    """Turned by EXIF, or of a kind that TensorFlow does not read."""
    upright = np.full([20, 30, 3], 90, np.uint8)
    upright[4:8, 6:12] = 255, 0, 0
    aside = np.ascontiguousarray(np.rot90(upright))
    turned = Image.Exif()
    turned[0x0112] = 6
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "plain.png").write_bytes(encoded(upright))
    (folder / "turned.png").write_bytes(encoded(aside, exif=turned))
    (folder / "kind.tiff").write_bytes(encoded(upright, "TIFF"))
    found, page = find(folder)
    assert set(found) == {"plain.png", "turned.png", "kind.tiff"}
    for boxes in found.values():
        assert boxes == [{"class": "red", "score": 1.0, "box": [6, 4, 12, 8]}]
    pictures = [x.partition('"')[0] for x in page.split("data:image/jpeg")[1:]]
    assert len(pictures) == 3 and len(set(pictures)) == 1
