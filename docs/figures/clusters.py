"""Draws clusters of a SavedModel: a line each, its surest images first.

python docs/figures/clusters.py exports/quickstart/1 digits:?split=test \\
    docs/figures/clusters.png
"""

import sys

import numpy as np
import tensorflow as tf

from tfclust import data

LINES, COLUMNS, SIDE, GAP = 10, 16, 48, 2


def main(saved_model, uri, output):
    """Writes a PNG of the largest clusters."""
    serve = tf.saved_model.load(saved_model).signatures["images"]
    source = data.open_source(uri)
    clusters, scores, pictures = [], [], []
    size = serve.structured_input_signature[1]["images"].shape[1] or 24
    for batch in data.evaluation_batches(
        source, image_size=size, batch_size=256
    ):
        images = batch["images"][batch["mask"]]
        found = serve(images=tf.cast(images, tf.float32) / 255.0)
        clusters.append(found["cluster"].numpy())
        scores.append(found["cluster_score"].numpy())
        pictures.append(images.numpy())
    clusters, scores, pictures = map(
        np.concatenate, (clusters, scores, pictures)
    )
    largest = np.argsort(-np.bincount(clusters), kind="stable")[:LINES]
    lines = []
    for cluster in largest:
        members = np.flatnonzero(clusters == cluster)
        surest = members[np.argsort(-scores[members])][:COLUMNS]
        lines.append(_line(pictures[surest]))
    tf.io.write_file(output, tf.io.encode_png(np.concatenate(lines)))


def _line(images):
    """uint8 `[SIDE, COLUMNS * SIDE, 3]`, white where images run out."""
    cells = np.full([COLUMNS, SIDE, SIDE, 3], 255, np.uint8)
    inner = [SIDE - 2 * GAP] * 2
    resized = tf.image.resize(images, inner, method="nearest").numpy()
    cells[: len(images), GAP:-GAP, GAP:-GAP] = resized
    return np.concatenate(cells, axis=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
