"""Image files and records that tests write and read."""

import io
import pathlib
import zipfile

import numpy as np
import tensorflow as tf
from PIL import Image

RNG = np.random.default_rng(0)


def picture(height=20, width=24):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def encoded(image, kind="PNG", **how):
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, kind, **how)
    return stored.getvalue()


def write(folder, name, image=None, kind="PNG"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(picture() if image is None else image, kind))
    return path


def from_zip(archive, folder, count):
    """The first photos of a zip, as files in a new folder; their names."""
    folder.mkdir()
    with zipfile.ZipFile(archive) as stored:
        names = [n for n in stored.namelist() if n.endswith(".jpg")][:count]
        for name in names:
            (folder / pathlib.Path(name).name).write_bytes(stored.read(name))
    return [pathlib.Path(name).name for name in names]


def pixels(source):
    """All images of a source, read in a pipeline."""
    indices = tf.data.Dataset.range(source.num_images)
    return [image.numpy() for image in indices.map(source.image)]


# TFRecord files.


def example(image, label=None, key="image/encoded"):
    def feature(**kind):
        return tf.train.Feature(**kind)

    features = {
        key: feature(bytes_list=tf.train.BytesList(value=[image])),
        "image/filename": feature(
            bytes_list=tf.train.BytesList(value=[b"name.png"])
        ),
    }
    if label is not None:
        labels = tf.train.Int64List(value=[label])
        features["image/class/label"] = feature(int64_list=labels)
    record = tf.train.Example(features=tf.train.Features(feature=features))
    return record.SerializeToString()


def write_records(path, records, compression=None):
    options = tf.io.TFRecordOptions(compression_type=compression)
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for record in records:
            writer.write(record)


def write_shards(folder, counts, labelled=True):
    """Shards of small PNGs; returns the images in order."""
    images = []
    for shard, count in enumerate(counts):
        part = [picture(9 + i, 8) for i in range(count)]
        write_records(
            folder / f"train-{shard}.tfrecord",
            [
                example(encoded(image), 7 + i if labelled else None)
                for i, image in enumerate(part)
            ],
        )
        images += part
    return images
