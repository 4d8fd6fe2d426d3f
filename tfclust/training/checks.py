"""What a run refuses before it computes, with the numbers and the way out.

Bounds of single knobs are checked by their dataclasses, crops and batches by
`data.Views`, and the run in a folder by `resuming`. Here are the checks that
need a whole recipe and its images. Commands call `check_alone` before they
import TensorFlow, which takes seconds.
"""

import os

from tfclust import backbones, data, methods
from tfclust.data.views.sizes import check_stored_size

_EXAMPLES = {"data": "folder:/my/images", "workdir": "runs/first"}


def check_run(run, needed=tuple(_EXAMPLES)):
    """Refuses a `RunConfig` without images or a folder.

    Args:
      run: a `RunConfig`.
      needed: names of its knobs that must not be empty.
    """
    for name in needed:
        if not getattr(run, name):
            raise ValueError(
                f"{name} must be given, such as --{name}={_EXAMPLES[name]}."
            )


def check_alone(recipe, needed=tuple(_EXAMPLES), *, sizes=True):
    """Refuses what makes no sense, whatever the images are.

    Args:
      recipe: a `Recipe`.
      needed: as for `check_run`.
      sizes: whether those of images are settled, and to be checked too.
    """
    run = recipe.run
    check_run(run, needed)
    check_uris(run)
    if recipe.method.labels_from == "":
        raise ValueError(
            "pseudo_labels must be given: the folder of a run on the same "
            "images, such as --pseudo_labels=runs/first, a .csv file with "
            "their labels, or the word source."
        )
    if run.epochs is None and run.steps is None:
        raise ValueError(
            "the length of the run must be given: epochs or steps, such as "
            "--epochs=50."
        )
    _check_warmup(recipe.optimizer, run.epochs)
    if sizes:
        _check_sizes(recipe)


def _check_sizes(recipe):
    """Refuses views that do not suit the network, or the images kept."""
    size = recipe.run.image_size
    sizes = recipe.views.view_sizes or (size,)
    backbones.check_image_sizes(recipe.backbone.backbone, (*sizes, size))
    check_stored_size(recipe.views.stored_size, sizes[0])


def _check_warmup(optimizer, epochs):
    """Refuses a run that ends before its learning rate has risen."""
    if epochs is None:
        return  # known as steps alone: `optimizers.learning_rate` checks
    idle, warmup = optimizer.idle_epochs, optimizer.warmup_epochs
    if warmup > epochs:
        raise ValueError(
            "warmup_epochs must be at most epochs. Received: warmup_epochs="
            f"{warmup:g}, epochs={epochs}."
        )
    if idle and idle + warmup >= epochs:
        raise ValueError(
            "idle_epochs, in which the learning rate is 0, and warmup_epochs "
            "must leave some epochs. Received: idle_epochs="
            f"{idle:g}, warmup_epochs={warmup:g}, epochs={epochs}. Lower them, "
            "or train for more epochs."
        )


def check_uris(run):
    """Refuses images that are missing, before anything is imported or read.

    Args:
      run: a `RunConfig`.
    """
    if os.environ.get("TF_CONFIG"):
        return  # a host that ends before all have met leaves the others waiting
    for name in ("data", "eval_data"):
        if getattr(run, name):
            data.check_uri(getattr(run, name), name)


def check_replicas(recipe, strategy):
    """Refuses a batch, or a compiled step, that replicas cannot share."""
    from tfclust.runtime import replicas  # imports TensorFlow

    batch, count = recipe.run.batch_size, strategy.num_replicas_in_sync
    if batch % count:
        raise ValueError(
            "batch_size must be a multiple of the replicas, which get equal "
            f"parts. Received: batch_size={batch} with {count} replicas. Try "
            f"{max(1, batch // count) * count}."
        )
    replicas.check_compiled(recipe.run.jit_compile, count)


def check_stream(recipe, source):
    """Refuses a stream for what must know its images or their number."""
    run = recipe.run
    if not source.is_stream:
        return
    if not methods.METHODS[run.method].takes_streams:
        able = [n for n, m in methods.METHODS.items() if m.takes_streams]
        raise ValueError(
            f"method={run.method} keeps something for each image by its index, "
            f"which a stream does not have. Received: data={run.data}. Write "
            "tfrecord: instead of tfrecord_stream:, or use method="
            f"{' or '.join(able)}."
        )
    if run.steps is None:
        raise ValueError(
            "the length of a run on a stream must be given as steps, since "
            f"nobody knows how long the stream is. Received: epochs="
            f"{run.epochs}. Give --steps."
        )


def check_count(source):
    """Refuses a single image, which is like no other and unlike none."""
    if not source.is_stream and source.num_images < 2:
        raise ValueError(
            "data must have two images at least, to tell them apart. Received: "
            f"{source.num_images} in {source.uri}. Give more images."
        )


def check_images(recipe, views):
    """Refuses more clusters, or more rows of a queue, than images."""
    recipe.method.check_images(views.num_images, views.batch_size)


def check_test_images(source, test):
    """Refuses test images that cannot test a kNN.

    Args:
      source: `data.Source` to learn from.
      test: `data.Source`.
    """
    for images in (source, test):
        if images.labels is None:
            why = "".join(f" ({notice})" for notice in images.notices)
            raise ValueError(
                "eval_data tests a kNN, which needs labels on both sides. "
                f"Received: {images.uri} without labels{why}. Leave eval_data "
                "out."
            )
    names = (source.class_names, test.class_names)
    if None not in names and names[0] != names[1]:
        ours, theirs = (", ".join(n[:5]) for n in names)
        raise ValueError(
            "eval_data must have the classes of data, or its labels mean "
            f"something else. Received: {theirs} ({len(names[1])} classes), "
            f"and {ours} ({len(names[0])}) in data. Leave eval_data out."
        )
    shared = test.num_shared(source)
    if shared:
        raise ValueError(
            "eval_data must hold other images than data, or each image finds "
            f"itself. Received: eval_data={test.uri}, of which {shared} of "
            f"{test.num_images} images are in data={source.uri}. Give other "
            "images, or leave eval_data out."
        )
