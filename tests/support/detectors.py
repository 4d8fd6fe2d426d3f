"""Backbones to detect with, exported; and small data sets with boxes."""

import json
import types

import keras
from keras import layers

from tests.support.image_files import encoded, picture
from tfclust import saved_model


def export_backbone(path, backbone, image_size=64):
    """Writes a SavedModel of a backbone without clusters; its version."""
    width = backbone.output_shape[-1]
    method = types.SimpleNamespace(
        backbone=backbone,
        projector=keras.Sequential([layers.Input([width]), layers.Dense(4)]),
        unit_projections=True,
    )
    return saved_model.save(method, path, image_size=image_size)


def write_graph(path, backbone):
    """A version with the Keras graph alone, which is all that detectors read.

    A whole export takes seconds to trace.
    """
    (path / saved_model.BACKBONE_FILE).parent.mkdir(parents=True)
    backbone.save(path / saved_model.BACKBONE_FILE)
    (path / "saved_model.pb").touch()
    return path


def tiny_backbone(deepest=5, width=8, seed=1):
    """A strided convolution with batch norm a level, to stride 2^deepest."""
    keras.utils.set_random_seed(seed)
    x = images = keras.Input([None, None, 3])
    for level in range(deepest):
        x = layers.Conv2D(
            width, 3, strides=2, padding="same", name=f"stage{level}_conv"
        )(x)
        x = layers.BatchNormalization(name=f"stage{level}_bn")(x)
        x = layers.ReLU(name=f"relu{level}")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, x, name="tiny")


XML = """<annotation><filename>{file}</filename>
<size><width>{width}</width><height>{height}</height><depth>3</depth></size>
{objects}</annotation>"""
OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>
</object>"""


def write_voc(folder, images, split=None):
    """A VOC folder.

    Args:
      folder: path.
      images: `{stem: (uint8 [H, W, 3] or None, [(name, box, difficult)])}`;
        boxes as VOC writes them; no file for None.
      split: name of a list in ImageSets/Main with all of them.
    """
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for stem, (image, objects) in images.items():
        height, width = (20, 30) if image is None else image.shape[:2]
        words = [
            OBJECT.format(*box, name=name, difficult=int(difficult))
            for name, box, difficult in objects
        ]
        file = f"{stem}.jpg"
        (folder / "Annotations" / f"{stem}.xml").write_text(
            XML.format(
                file=file, width=width, height=height, objects="".join(words)
            ),
            "utf-8",
        )
        if image is not None:
            path = folder / "JPEGImages" / file
            path.write_bytes(encoded(image, "PNG"))
    if split is not None:
        names = "".join(f"{stem}\n" for stem in images)
        (folder / "ImageSets/Main" / f"{split}.txt").write_text(names, "utf-8")
    return folder


def write_coco(path, images, annotations, categories=("cat", "dog")):
    """A COCO file with images beside it.

    Args:
      path: of the JSON file.
      images: `{file name: uint8 [H, W, 3]}`, ids from 1.
      annotations: dicts, completed with ids.
      categories: names, ids from 1.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (name, image) in enumerate(images.items(), 1):
        (path.parent / name).write_bytes(encoded(image))
        height, width = image.shape[:2]
        rows.append(
            {"id": number, "file_name": name, "width": width, "height": height}
        )
    body = {
        "images": rows,
        "annotations": [
            {"id": number, "iscrowd": 0, **one}
            for number, one in enumerate(annotations, 1)
        ],
        "categories": [
            {"id": number, "name": name}
            for number, name in enumerate(categories, 1)
        ],
    }
    path.write_text(json.dumps(body), "utf-8")
    return path


def squares(count, side=64, seed=0):
    """Images with one bright square each, for `write_voc`."""
    import numpy as np

    rng = np.random.default_rng(seed)
    found = {}
    for number in range(count):
        image = picture(side, side) // 4
        size = int(rng.integers(side // 4, side // 2))
        left, top = rng.integers(0, side - size, 2)
        kind = number % 2
        image[top : top + size, left : left + size, kind] = 255
        box = (left + 1, top + 1, left + size, top + size)
        found[f"i{number:03d}"] = (image, [(("red", "green")[kind], box, 0)])
    return found
