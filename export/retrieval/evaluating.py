"""Measures how well a SavedModel finds: by class, and by instance."""

import json

import numpy as np

from export.retrieval import model
from tfclust import data
from tfclust.retrieval import (
    describing,
    landmarks,
    maps,
    pooling,
    tasks,
    whitening,
)
from tfclust.runtime import files, folders

_FEATURES = "features"


def evaluate(config, say):
    """The figures of each network that is compared.

    Args:
      config: `evaluate.EvaluateConfig`.
      say: called with sentences.

    Returns:
      dict of network -> dict of figures.
    """
    # Before an hour of features, whatever can be refused.
    truth = config.ground_truth and landmarks.read(config.ground_truth)
    source = _opened(config, config.images, "images")
    others = {}
    if config.queries:
        others["queries"] = _opened(config, config.queries, "queries")
    if config.whiten_images:
        others["whiten"] = _opened(
            config, config.whiten_images, "whiten_images"
        )
        for searched in (source, others.get("queries")):
            if searched is not None:
                whitening.check_others(
                    "whiten_images", others["whiten"], searched
                )
    task = tasks.task(source, others.get("queries"), truth)
    for sentence in task.notices:
        say(sentence)
    found = {}
    for network in ("trained", *config.baselines):
        describe = _describer(config, network, others.get("whiten"))
        found[network] = task.figures(describe)
        say(_line(network, found[network]))
    if config.output:
        path = folders.expanded(config.output)
        files.write_text(path, json.dumps(found, indent=2) + "\n")
        say(f"Written: {path}")
    return found


def table(found):
    """The figures as lines, a column a network."""
    names = [n for n in next(iter(found.values())) if n not in _COUNTS]
    width = max(map(len, names)) + 4
    lines = [" " * width + "".join(f"{name:>11}" for name in found)]
    for name in names:
        cells = "".join(f"{found[n][name]:11.2f}" for n in found)
        lines.append(f"{name + ' %':<{width}}{cells}")
    return lines


_COUNTS = ("queries", "alone")


def _line(network, figures):
    name = next(iter(figures))
    return f"{network}: {name} {figures[name]:.2f} %"


def _opened(config, uri, argument):
    source = data.open_source(
        uri,
        max_images=config.max_images if argument == "images" else None,
        cache_dir=config.cache_dir or None,
        max_bad_share=config.max_bad_share,
        argument=argument,
    )
    if source.is_stream:
        raise ValueError(
            f"{argument} must be images that can be read again. Received: "
            f"{argument}={source.uri}, a stream. Write tfrecord: for the same "
            "files."
        )
    return source


def _describer(config, network, whiten_source):
    """A function of source and boxes to unit rows float32 `[n, D]`."""
    if config.resolved_pooling == _FEATURES:
        return _by_features(config, network)
    return describing.by_regions(
        _regions(config, network),
        longer_side=config.longer_side,
        whiten_source=whiten_source,
        whiten_width=config.whiten_width,
    )


def _regions(config, network):
    """A function from a photo to region vectors `[r, C]`."""
    if network == "pixels":
        return maps.tiny_pixels
    backbone = model.load_backbone(
        config.saved_model, network == "untrained", config.seed
    )
    to_map, _ = maps.map_function(backbone, config.layer)
    pool = pooling.POOLINGS[config.resolved_pooling]
    return lambda image: pool(to_map(image))


def _by_features(config, network):
    """Features of the centre crop, as the model was made for."""
    current = model.load(config.saved_model)
    if network == "pixels":
        current = current._replace(rows=_pixel_rows)
    elif network == "untrained":
        backbone = model.load_backbone(config.saved_model, True, config.seed)
        current = current._replace(rows=_rows_of(backbone))

    def describe(source, boxes):
        del boxes  # of classes, which have none
        found = None
        for rows, features in model.features_of(current, source):
            if found is None:
                shape = source.num_images, features.shape[1]
                found = np.zeros(shape, np.float32)
            found[rows] = features
        return found

    return describe


def _pixel_rows(images):
    import tensorflow as tf

    images = tf.cast(images, tf.float32) / 255.0
    if images.shape[1] > maps.PIXELS:
        images = maps.averaged(images)
    return model.unit_rows(images.numpy().reshape(len(images), -1))


def _rows_of(backbone):
    import tensorflow as tf

    @tf.function(autograph=False)
    def features(images):
        images = tf.cast(images, tf.float32) / 255.0
        return tf.cast(backbone(images, training=False), tf.float32)

    return lambda images: model.unit_rows(features(images).numpy())
