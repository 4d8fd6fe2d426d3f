"""A detector as a SavedModel that needs nothing of tfclust or KerasHub.

Its signature takes encoded images, as that of a feature extractor does, and is
published by the same writer, so the same servers and clients serve it. Beside
it lies `assets.extra/detector.keras`, to train on; that needs KerasHub and
`export.detection.network.encoder_class()`.
"""

import io
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from export.detection import jitter, network, predictions
from tfclust import saved_model

DETECTOR_FILE = pathlib.PurePath("assets.extra", "detector.keras")
KIND = "detector"
_TOLERANCE = 1e-3  # pixels, and of scores


def save(detector, class_names, path, about):
    """Writes the next version of a detector under `path`.

    Args:
      detector: `network.Detector` that computes in float32.
      class_names: tuple of str.
      path: folder of the versions; made if necessary.
      about: dict for the model card.

    Returns:
      `pathlib.Path` of the version.

    Raises:
      ValueError: if `path` cannot be written to.
      RuntimeError: if the reloaded model differs.
    """
    module = _module(detector)
    signature = module.signature
    card = _card(detector, class_names, about)

    def fill(folder):
        tf.saved_model.save(
            module, str(folder), signatures={"serving_default": signature}
        )
        (folder / DETECTOR_FILE).parent.mkdir(exist_ok=True)
        detector.model.save(folder / DETECTOR_FILE)
        words = json.dumps(card, indent=2, ensure_ascii=False)
        card_file = folder / saved_model.CARD_FILE
        card_file.write_text(words + "\n", encoding="utf-8")
        _check_reload(folder, signature)

    return saved_model.write_next(path, fill)


def load_keras(path):
    """The Keras model of a version: `load_model` with our class registered."""
    network.encoder_class()
    path = saved_model.newest_version(path)
    return keras.models.load_model(path / DETECTOR_FILE, compile=False)


def _module(detector):
    side = detector.side

    def fit(image):
        sides = jitter.sides_of(tf.shape(image)[:2], side)
        begin, flip = tf.zeros([2], tf.int32), tf.constant(False)
        return jitter.canvas(image, sides, begin, flip, side)

    def serve(image_bytes):
        decoded = saved_model.decode_with(image_bytes, fit, side)
        predicted = detector.model(decoded.images, training=False)
        found = predictions.find(
            predicted, detector.anchors, decoded.sizes, side
        )
        good = decoded.status == saved_model.OK
        return {
            "boxes": tf.where(good[:, None, None], found.boxes, 0.0),
            "classes": tf.where(good[:, None], found.classes, -1),
            "scores": tf.where(good[:, None], found.scores, 0.0),
            "num_boxes": tf.where(good, found.num_boxes, 0),
            "status": decoded.status,
        }

    module = tf.Module(name="tfclust_detector")
    module.kept = [v.value for v in detector.model.variables]
    module.signature = tf.function(
        serve,
        input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")],
        autograph=False,
    )
    return module


def _card(detector, class_names, about):
    most = predictions.MOST_BOXES
    return {
        "kind": KIND,
        "class_names": list(class_names),
        **about,
        "preprocessing": {
            "channels": "RGB",
            "alpha": "on white",
            "resize_longer_side": detector.side,
            "resize_method": "bilinear, antialiased",
            "canvas": [detector.side, detector.side],
            "range": [0.0, 1.0],
            "mean_and_deviation": "inside the model",
            "max_pixels": saved_model.MAX_PIXELS,
        },
        "signatures": ["serving_default"],
        "inputs": {
            "image_bytes": "string [B], files of any size and format, B >= 1"
        },
        "outputs": {
            "boxes": [None, most, 4],
            "classes": [None, most],
            "scores": [None, most],
            "num_boxes": [None],
            "status": [None],
        },
        "boxes": "left, top, right, bottom in pixels of the image that is "
        "sent, EXIF's turn not applied, best first; after num_boxes of them "
        "boxes and scores are 0 and classes -1",
        "status": {
            "values": list(saved_model.STATUSES),
            "unless_ok": "num_boxes is 0; the other rows are not affected",
        },
        "versions": {
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }


def _check_reload(folder, signature):
    """Compares before the version appears: a server would load it at once."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    encoded = tf.constant([file.getvalue(), b""])
    expected = signature(encoded)
    loaded = tf.saved_model.load(str(folder)).signatures["serving_default"]
    received = loaded(image_bytes=encoded)
    for name, wanted in expected.items():
        got, wanted = received[name].numpy(), wanted.numpy()
        same = (
            np.array_equal(got, wanted)
            if name in ("status", "classes", "num_boxes")
            else np.abs(got - wanted).max(initial=0) <= _TOLERANCE
        )
        if not same:
            raise RuntimeError(
                "the SavedModel must give the detector's boxes after loading. "
                f"Received: other {name}. Nothing was written."
            )
