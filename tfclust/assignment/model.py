"""A run, an export or a method in memory, as what assigns images."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfclust import saved_model
from tfclust.engine.inference import Inference
from tfclust.runs import loading
from tfclust.runs.config import RunConfig
from tfclust.saved_model.serving import single_device_copy


class Model(NamedTuple):
    """What assigns images.

    compute: float32 images `[B, S, S, 3]` in [0, 1] to a dict of `features`
    and, with clusters, `cluster` and `cluster_score`. width: int, of features.
    digest: str, of all its numbers. run: `RunConfig` of its training. step: int
    of the run, or None.
    """

    compute: Callable
    width: int
    has_clusters: bool
    image_size: int
    resize_size: int | None
    digest: str
    run: RunConfig | None
    step: int | None = None


def open_model(config):
    """The `Model` that a `ModelImages` names.

    Raises:
      FileNotFoundError: if there is no such run or export.
      ValueError: if an export is damaged.
    """
    if config.workdir:
        run = loading.load_run(config.workdir)
        return of_method(run.method, run.recipe.run)
    loaded = saved_model.load(config.saved_model)
    signature = getattr(loaded.model, "signatures", {}).get("images")

    def compute(images):
        if signature is None:
            return {"features": loaded.model(images, training=False)}
        found = signature(images=images)
        return {name: found[name] for name in _WANTED if name in found}

    return _model(
        compute,
        [*loaded.model.variables, *getattr(loaded.model, "head_variables", ())],
        loaded.image_size,
        loaded.resize_size,
        None,
    )


def of_method(method, run):
    """The `Model` of a trained method; computes as its export would.

    Args:
      method: a `Method`.
      run: the `RunConfig` of its training.
    """
    # An export computes in float32, and so do the clusters of a run.
    infer = Inference(method, single_device_copy(method.backbone))

    def compute(images):
        found = infer(images)
        return {name: found[name] for name in _WANTED if name in found}

    numbers = [*infer.backbone.variables, *infer.variables()]
    model = _model(compute, numbers, run.image_size, run.resize_size, run)
    return model._replace(step=int(method.step.numpy()))


_WANTED = ("features", "cluster", "cluster_score")


def _model(compute, numbers, image_size, resize_size, run):
    probe = compute(tf.zeros([1, image_size, image_size, 3]))
    digest = hashlib.sha256()
    for number in numbers:
        digest.update(tf.convert_to_tensor(number).numpy().tobytes())
    return Model(
        compute,
        int(probe["features"].shape[-1]),
        "cluster" in probe,
        image_size,
        resize_size,
        digest.hexdigest(),
        run,
    )
