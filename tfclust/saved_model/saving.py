"""Writes a trained method, and compares the reloaded model with it."""

import importlib.metadata
import json
import platform
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfclust import backbones
from tfclust.data.views.sizes import checked_resize
from tfclust.engine.inference import Inference
from tfclust.saved_model import formats, warm_up
from tfclust.saved_model.decoding import STATUSES
from tfclust.saved_model.serving import served, single_device_copy
from tfclust.saved_model.versions import (
    BACKBONE_FILE,
    CARD_FILE,
    MAX_PIXELS,
    newest_version,
    write_next,
)

TOLERANCE = 1e-5
# Batch norm refuses an empty batch.
_INPUTS = {
    "images": "float32 [B, H, W, 3] in [0, 1], B >= 1",
    "image_bytes": "string [B], files of any size and format, B >= 1",
}
_UNLESS_OK = (
    "features, projections and cluster_score are NaN, cluster is -1; the other "
    "rows are not affected. Only serving_default has a status."
)


class Extras(NamedTuple):
    """What a version may have beside the model itself.

    Attributes:
      warmup_images: encoded images, of which the records are made that a server
        replays before the version answers.
      formats: names of `formats.FORMATS`, to write the model in as well.
      frozen: whether variables become constants: faster on some servers, and
        nobody can train it further.
    """

    warmup_images: tuple[bytes, ...] = ()
    formats: tuple[str, ...] = ()
    frozen: bool = False


NO_EXTRAS = Extras()


class Differences(NamedTuple):
    """How far a reloaded model is from its method; see `compare_reload`."""

    features: float
    projections: float
    cluster_score: float | None = None  # without clusters
    cluster: float | None = None


def save(
    method,
    path,
    *,
    card=None,
    image_size=None,
    resize_size=None,
    max_pixels=MAX_PIXELS,
    cluster_names=None,
    write_more=None,
    extras=NO_EXTRAS,
):
    """Writes the next version of a trained method under `path`.

    The version is written to a hidden sibling, loaded again, compared with the
    method, flushed to the disk, and only then given its name.

    Args:
      method: has `backbone` (`[B, H, W, 3]` in [0, 1] to `[B, F]`), `projector`
        (`[B, F]` to raw `[B, D]`), `unit_projections`, and `clusterer()` if it
        has clusters.
      path: folder of the versions; made if necessary.
      card: dict to include in the model card: method, data, num_images,
        recipe, metrics, and anything else worth knowing.
      image_size: int, side of the centre crop; None takes it from the method's
        views, or from the backbone's input.
      resize_size: int, the short side before the crop; None for
        image_size / 0.875 from 96 pixels on, and image_size below.
      max_pixels: int, height times width above which the model does not decode
        an encoded image; its row then says so.
      cluster_names: `{cluster: name}` that `serving_default` returns as
        `cluster_name`; None for none.
      write_more: called with the version's folder, before it appears, to write
        further files into its assets.extra; None for none.
      extras: `Extras`.

    Returns:
      `pathlib.Path` of the version, `<path>/<integer>`.

    Raises:
      ValueError: if the sizes are impossible, unknown or too small for the
        backbone, or the backbone has layers that Keras cannot serialise.
      RuntimeError: if the reloaded model differs from the method.
    """
    sizes = (*_sizes(method, image_size, resize_size), _checked(max_pixels))
    backbone = single_device_copy(method.backbone)
    module, signatures = served(
        method,
        backbone,
        *sizes,
        cluster_names=cluster_names,
        frozen=extras.frozen,
    )
    about = _model_card(card or {}, signatures, *sizes)

    def fill(folder):
        tf.saved_model.save(module, str(folder), signatures=signatures)
        (folder / BACKBONE_FILE).parent.mkdir(exist_ok=True)
        backbone.save(folder / BACKBONE_FILE)
        if write_more is not None:
            write_more(folder)
        about.update(_write_extras(folder, backbone, extras, sizes[0]))
        words = json.dumps(about, indent=2, ensure_ascii=False, default=_plain)
        (folder / CARD_FILE).write_text(words + "\n", encoding="utf-8")
        # Before the version appears: a server would load it at once.
        _check_reload(folder, method, sizes[0])

    return write_next(path, fill)


def compare_reload(path, method, images):
    """Loads a SavedModel and compares it with the method it came from.

    Args:
      path: a version, or the folder of versions.
      method: as in `save`.
      images: `[B, H, W, 3]` floats in [0, 1].

    Returns:
      `Differences`: of features (called, and by signature), projections and
      cluster_score the largest difference, as a share of the method's largest
      value if that is above 1; for cluster the share of images with another
      one.
    """
    images = tf.convert_to_tensor(images, tf.float32)
    loaded = tf.saved_model.load(str(newest_version(path)))
    backbone = single_device_copy(method.backbone)
    expected = tf.function(Inference(method, backbone), autograph=False)(images)
    return _differences(loaded, images, expected)


def _write_extras(folder, backbone, extras, image_size):
    """Writes them beside the model; what the card says of them."""
    found = {"frozen": extras.frozen}
    if extras.warmup_images:
        images = extras.warmup_images
        found["warm_up"] = warm_up.write(folder, images, image_size)
    if extras.formats:
        found["formats"] = formats.write(folder, backbone, extras.formats)
    return found


def _model_card(card, signatures, image_size, resize_size, max_pixels):
    """What a person needs to know to use the model, as a JSON object."""
    outputs = signatures["serving_default"].get_concrete_function()
    return {
        **dict.fromkeys(("method", "data", "num_images", "recipe", "metrics")),
        **card,
        "preprocessing": {
            "channels": "RGB",
            "alpha": "on white",
            "resize_short_side": resize_size,
            "resize_method": "bilinear, antialiased",
            "centre_crop": image_size,
            "range": [0.0, 1.0],
            "mean_and_deviation": "inside the model",
            "max_pixels": max_pixels,
        },
        "signatures": sorted(signatures),
        "inputs": _INPUTS,
        "outputs": {
            name: list(shape) for name, shape in outputs.output_shapes.items()
        },
        "status": {"values": STATUSES, "unless_ok": _UNLESS_OK},
        "versions": {
            "tfclust": _version("tfclust"),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "python": platform.python_version(),
        },
    }


def _plain(value):
    """NumPy values as Python values; others, such as paths, as text."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return str(value)


def _sizes(method, image_size, resize_size):
    views = getattr(method, "views", None)
    known = method.backbone.input_shape[1]
    if known is None and views is not None:
        known = views.image_size
    image_size = image_size or known
    if image_size is None:
        raise ValueError(
            "image_size must be given: the backbone takes images of any size "
            "and the method has not been trained on views. Received: "
            "image_size=None."
        )
    if image_size < 1:
        raise ValueError(
            "image_size must be at least 1, the side of the centre crop. "
            f"Received: image_size={image_size}. Leave it out if the method "
            "was trained on views."
        )
    resize_size = checked_resize(image_size, resize_size)
    backbones.check_size(method.backbone, "image_size", int(image_size))
    return int(image_size), int(resize_size)


def _checked(max_pixels):
    if max_pixels < 1:
        raise ValueError(
            "max_pixels must be at least 1: height times width of the largest "
            f"image that is decoded. Received: max_pixels={max_pixels}."
        )
    return int(max_pixels)


def _check_reload(version, method, image_size):
    """Compares before the version appears: a server would load it at once."""
    images = np.random.default_rng(0).random([2, image_size, image_size, 3])
    differences = compare_reload(version, method, images)
    worst = max(x for x in differences[:3] if x is not None)
    if not worst <= TOLERANCE:
        raise RuntimeError(
            "the SavedModel must give the method's numbers after loading. "
            f"Received: {differences}; {TOLERANCE} is allowed. Nothing was "
            "written; a layer of the backbone may be random at inference."
        )


def _differences(loaded, images, expected):
    def of(received, name):
        wanted = expected[name].numpy()
        scale = max(1.0, np.abs(wanted).max())
        return float(np.abs(received.numpy() - wanted).max() / scale)

    received = loaded.signatures["images"](images=images)
    called = of(loaded(images), "features")
    found = Differences(
        features=max(called, of(received["features"], "features")),
        projections=of(received["projections"], "projections"),
    )
    if "cluster" not in expected:
        return found
    elsewhere = received["cluster"].numpy() != expected["cluster"].numpy()
    return found._replace(
        cluster_score=of(received["cluster_score"], "cluster_score"),
        cluster=float(elsewhere.mean()),
    )


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
