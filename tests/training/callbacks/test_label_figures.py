"""The online kNN: what it costs after its first epoch, and what it gives."""

import types

import numpy as np
import tensorflow as tf
from PIL import Image

from tfclust import data
from tfclust.training.callbacks.label_figures import LabelFigures

COUNT = 30


def folder_of_colours(folder):
    """Two classes of noisy images, of another size each."""
    random = np.random.default_rng(0)
    for i in range(COUNT):
        where = folder / ("red" if i % 2 else "blue")
        where.mkdir(exist_ok=True)
        image = random.integers(0, 200, (20 + i, 24, 3))
        image[..., 0 if i % 2 else 2] += 55
        Image.fromarray(image.astype(np.uint8)).save(where / f"{i}.png")
    return data.open_source(f"folder:{folder}")


def test_later_epochs_trace_nothing_and_read_no_file(tmp_path):
    views = data.Views(
        folder_of_colours(tmp_path), batch_size=8, view_sizes=(16,)
    )
    traced, scale = [], tf.Variable(1.0)

    def backbone(images, training):
        traced.append(images.shape)
        return scale * tf.reduce_mean(images, axis=[1, 2])

    figures = LabelFigures(views, None, num_images=COUNT)
    figures.set_model(types.SimpleNamespace(backbone=backbone, total_steps=6))
    first, second = {"step": 3}, {"step": 6}
    figures.on_epoch_end(0, first)
    for path in tmp_path.glob("*/*.png"):
        path.unlink()
    scale.assign(3.0)
    figures.on_epoch_end(1, second)

    assert first["knn_accuracy"] == second["knn_accuracy"] == 1.0
    assert len(traced) == 2  # of the bank and of its test
    assert not views.source.failures


def test_knn_comes_in_epochs_that_are_due_and_in_the_last(tmp_path):
    source = folder_of_colours(tmp_path)
    views = data.Views(source, batch_size=8, view_sizes=(16,))
    figures = LabelFigures(views, None, num_images=COUNT, every_epochs=2)
    figures.set_model(
        types.SimpleNamespace(
            backbone=lambda images, training: images[:, 0, 0], total_steps=9
        )
    )
    logs = [{"step": 3 * epoch + 3} for epoch in range(3)]
    for epoch, of in enumerate(logs):
        figures.on_epoch_end(epoch, of)
    assert ["knn_accuracy" in of for of in logs] == [False, True, True]
