"""Draws clusters of a SavedModel: a line each, its surest images first.

python docs/figures/clusters.py exports/mine/1 /my/images \\
    docs/figures/clusters.png
"""

import sys

import numpy as np
import tensorflow as tf

from tfclust import data

LINES, COLUMNS, SIDE, GAP = 10, 14, 56, 2


def main(saved_model, uri, output):
    """Writes a PNG of the largest clusters."""
    serve = tf.saved_model.load(saved_model).signatures["images"]
    source = data.open_source(uri)
    size = serve.structured_input_signature[1]["images"].shape[1] or 32
    found = [serve(images=x) for x in _pictures(source, size)]
    clusters, scores = (
        np.concatenate([rows[name] for rows in found])[: source.num_images]
        for name in ("cluster", "cluster_score")
    )
    pictures = np.concatenate(list(_pictures(source, SIDE - 2 * GAP)))
    largest = np.argsort(-np.bincount(clusters), kind="stable")[:LINES]
    lines = []
    for cluster in largest:
        members = np.flatnonzero(clusters == cluster)
        surest = members[np.argsort(-scores[members])][:COLUMNS]
        lines.append(_line(pictures[surest]))
    whole = np.uint8(np.round(255 * np.concatenate(lines)))
    tf.io.write_file(output, tf.io.encode_png(whole))


def _pictures(source, size):
    """Batches of float32 `[b, size, size, 3]` in [0, 1], in index order."""
    for batch in data.evaluation_batches(
        source, image_size=size, resize_size=size, batch_size=256
    ):
        yield tf.cast(batch["images"], tf.float32) / 255.0


def _line(images):
    """`[SIDE, COLUMNS * SIDE, 3]`, white where images run out."""
    cells = np.ones([COLUMNS, SIDE, SIDE, 3], np.float32)
    cells[: len(images), GAP:-GAP, GAP:-GAP] = images
    return np.concatenate(cells, axis=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
