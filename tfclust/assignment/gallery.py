"""A page with pictures of each cluster; its names can be typed there."""

import pathlib

import numpy as np
import tensorflow as tf

from tfclust import data
from tfclust.runtime import pages, progress

_TEMPLATE = pathlib.Path(__file__).with_name("gallery.html")
_SIDE = 72  # pixels of a picture
_PICTURES = 2_400  # of 2 kB each: the page stays below 10 MB
_MOST, _RANDOM_SHARE = 16, 0.25


def write(path, model, found, table, about):
    """Writes the page, as a whole or not at all.

    Args:
      path: `pathlib.Path`. model: `Model`. found: `assigning.Assigned`.
      table: `Table` of the same images. about: `ClustersFile`.
    """
    largest = sorted(about.clusters, key=lambda c: -c["size"])[:_PICTURES]
    known = sorted(largest, key=lambda c: c["id"])
    each = max(1, min(_MOST, _PICTURES // max(1, len(known))))
    members = {c["id"]: np.flatnonzero(table.cluster == c["id"]) for c in known}
    shown = {
        k: _some(rows, table.distance[rows], each)
        for k, rows in members.items()
    }
    wanted = np.array([i for some in shown.values() for i, _ in some])
    pictures = dict(
        zip(wanted.tolist(), _pictures(model, found, wanted), strict=True)
    )
    clusters = [
        {
            **c,
            "share": c["size"] / len(table.name),
            "outliers": int(table.outlier[members[c["id"]]].sum()),
            "images": [
                (pictures[i], table.name[i], why) for i, why in shown[c["id"]]
            ],
        }
        for c in known
    ]
    pages.write(
        path,
        _TEMPLATE,
        clusters=clusters,
        left_out=len(about.clusters) - len(known),
        num_images=len(table.name),
        images=about.about["images"],
    )


def _some(rows, distance, count):
    """(position, why) of the nearest, a few at random, and the farthest."""
    order = rows[np.argsort(distance, kind="stable")]
    if len(order) <= count:
        return [(int(i), "nearest") for i in order]
    random = int(count * _RANDOM_SHARE)
    nearest = -(-(count - random) // 2)
    farthest = count - random - nearest
    between = order[nearest : len(order) - farthest]
    generator = np.random.default_rng(0)
    drawn = np.sort(generator.choice(len(between), random, replace=False))
    return [
        *((int(i), "nearest") for i in order[:nearest]),
        *((int(i), "random") for i in between[drawn]),
        *((int(i), "farthest") for i in order[len(order) - farthest :]),
    ]


def _pictures(model, found, wanted):
    """Yields a `data:` URI for each position."""
    sample = data.Sample(found.source, found.rows[wanted])
    side = min(_SIDE, model.image_size)

    def small(images):
        images = tf.image.resize(images, [side, side], antialias=True)
        return tf.cast(tf.clip_by_value(images, 0, 1) * 255 + 0.5, tf.uint8)

    images = data.ImagePass(
        small,
        sample,
        image_size=model.image_size,
        resize_size=model.resize_size,
        batch_size=64,
    )
    with progress.line("Pictures", len(wanted)) as line:
        for _, rows in images.batches():
            for image in rows:
                yield pages.thumbnail(image, side)
            line.update(len(rows))
