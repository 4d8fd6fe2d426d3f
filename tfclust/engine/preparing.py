"""Whether a method can be trained on what it is given."""

from tfclust import backbones
from tfclust.engine.config import WHOLE_BATCH


def check(method, views):
    """Refuses what the method cannot be prepared for; see `Method.prepare`."""
    if method.views is not None:
        raise ValueError(
            "a method trains on one set of views: its memories have a row for "
            "each image. Build a new method around method.backbone."
        )
    if not hasattr(views, "num_global_views"):
        raise TypeError(
            "a method trains on views of images. Received: "
            f"{type(views).__name__}. Write tfclust.data.Views(source, "
            "batch_size=64) around it."
        )
    if getattr(method, "optimizer", None) is None:
        raise ValueError(
            "the method needs an optimizer. Received: none. Write "
            "method.compile(optimizer=tfclust.optimizers.LARS(0.6)) first."
        )
    source = getattr(views, "source", None)  # a run read again has none
    if source is not None and source.is_stream and not method.takes_streams:
        raise ValueError(
            f"{method.name} keeps something for each image by its index, which "
            f"a stream does not have. Received: {source.uri}. Write tfrecord: "
            "instead of tfrecord_stream:, or use SwAV."
        )
    for size in sorted(getattr(views, "view_sizes", ())):
        backbones.check_size(method.backbone, "view_sizes", size)
    backbones.check_size(method.backbone, "image_size", views.image_size)


def check_optimizer(optimizer):
    """Refuses one that makes a step out of several batches."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    parts = getattr(inner, "gradient_accumulation_steps", None)
    if (parts or 1) > 1:
        raise ValueError(
            f"an optimizer must take one step per batch: {WHOLE_BATCH} "
            f"Received: gradient_accumulation_steps={parts}. Leave it out; if "
            "memory is short, use smaller or fewer views, mixed precision or "
            "several devices."
        )
