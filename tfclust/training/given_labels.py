"""Labels that a run is given: another run's, a file's, or the images' own.

The knob `pseudo_labels` of `fixed_labels` says which; no other method is given
labels. A resumed run has them in its state and reads nothing here.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from tfclust import options
from tfclust.engine.monitor import final_labels
from tfclust.methods.configs.fixed_labels import SOURCE
from tfclust.runs import checkpoints
from tfclust.runtime import folders, terminal
from tfclust.training import label_files

# Label memories are int32, and a classifier has a column for each lower label.
_HIGHEST_LABEL = 2**31 - 2


class GivenLabels(NamedTuple):
    """Labels `[N, H]`, -1 for none, and their number of classes per head."""

    labels: np.ndarray
    num_clusters: tuple
    told: str  # where they come from, in words


def open_run(recipe, say=terminal.say):
    """The finished run whose labels `recipe` takes, or None if it takes none.

    Args:
      recipe: a `Recipe`.
      say: called with a sentence for each damaged checkpoint.

    Returns:
      `checkpoints.Checkpoint`, the newest complete one; or None.

    Raises:
      FileNotFoundError: if there is none in the folder.
      DamagedCheckpoint, UnreadableCheckpoint: as `checkpoints.latest`.
    """
    words = recipe.method.labels_from
    if words in (None, SOURCE) or words.endswith(label_files.SUFFIX):
        return None
    saved = checkpoints.latest(folders.expanded(words), say=say)
    if saved is None:
        raise FileNotFoundError(
            f"pseudo_labels={words} holds no run: expected "
            "checkpoints/<step>/manifest.json. Give the workdir of a run on "
            f"the same images, a {label_files.SUFFIX} file, or the word "
            f"{SOURCE} for the images' own labels."
        )
    return saved


def read(recipe, run, source):
    """The labels that `recipe` asks for.

    Args:
      recipe: a `Recipe` whose method is given labels.
      run: what `open_run` returned.
      source: `data.Source` to learn from.

    Returns:
      `GivenLabels`.

    Raises:
      ValueError: if the run is on other images, the source has no labels or
        some beyond the range of int32, or they do not fit the recipe's
        num_clusters.
    """
    words = recipe.method.labels_from
    if run is not None:
        given = _of_run(words, run, source)
    elif words == SOURCE:
        given = _of_source(source)
    else:
        given = _of_file(words, source)
    _check_classes(words, given, recipe.method.num_clusters)
    return given


def in_words(given):
    """A sentence on `GivenLabels`."""
    counts = given.num_clusters
    heads = f"{len(counts)} heads of " if len(counts) > 1 else ""
    unknown = int((given.labels < 0).any(axis=1).sum())
    missing = f", not for {unknown} of {len(given.labels)} images"
    return (
        f"Labels are {given.told}: {heads}{', '.join(map(str, counts))} "
        f"classes{missing if unknown else ''}."
    )


def with_classes(recipe, num_clusters):
    """`recipe` with `num_clusters`, if it leaves these to the labels."""
    if recipe.method.num_clusters:
        return recipe
    method = dataclasses.replace(
        recipe.method, num_clusters=tuple(num_clusters)
    )
    return recipe._replace(method=method)


def classes_of(run):
    """`num_clusters` of a checkpoint's recipe."""
    words = run.about["recipe"]["method"]["num_clusters"]
    return options.parse(words, tuple[int, ...])


def _of_source(source):
    if source.labels is None:
        raise ValueError(
            f"pseudo_labels={SOURCE} trains on the images' own labels. "
            f"Received: {source.uri}, {source.num_images} images without "
            "labels. Give class folders or TFRecords with image/class/label, "
            "or the folder of a run."
        )
    labels = _in_range(SOURCE, source.labels[:, None], source.uri)  # [N, 1]
    names = source.class_names or ()
    count = max(len(names), int(labels.max()) + 1)
    return GivenLabels(labels, (count,), f"{source.uri}'s own")


def _of_file(words, source):
    labels = _in_range(words, label_files.read(words, source), words)
    counts = tuple(int(most) + 1 for most in labels.max(axis=0))
    return GivenLabels(labels, counts, f"those of {words}")


def _in_range(words, labels, where):
    """Labels as int32, -1 for none."""
    highest = int(labels.max())
    if highest > _HIGHEST_LABEL:
        raise ValueError(
            f"pseudo_labels={words} takes labels up to {_HIGHEST_LABEL:,}. "
            f"Received: label {highest} in {where}. Number the classes from 0 "
            "on."
        )
    return np.maximum(labels, -1).astype(np.int32)


def _of_run(words, run, source):
    """Final labels of a run: its label memory, or its last assignments."""
    num_images = run.about["views"]["num_images"]
    if run.about["data_digest"] != source.manifest_hash:
        as_many = num_images == source.num_images
        raise ValueError(
            f"pseudo_labels={words} labels other images: {num_images} there, "
            f"{source.num_images} in data"
            + (", with other names or sizes" if as_many else "")
            + ". Give the data and max_images of that run: "
            f"data={run.about['recipe']['run']['data']}."
        )
    found = final_labels(run.arrays)
    method = run.about["recipe"]["run"]["method"]
    told = f"those of {words} ({method}, step {run.step})"
    return GivenLabels(found, classes_of(run), told)


def _check_classes(words, given, num_clusters):
    """Refuses labels that do not fit the recipe's classifiers."""
    for head, column in enumerate(given.labels.T):
        classes = len(np.unique(column[column >= 0]))
        if classes < 2:
            raise ValueError(
                f"pseudo_labels={words} must tell images apart. Received: "
                f"{classes} classes for {len(column)} images in head {head}."
            )
    needed = options.text(given.num_clusters)
    highest = given.labels.max(axis=0) + 1  # [H]
    if num_clusters and len(num_clusters) != len(highest):
        raise ValueError(
            "num_clusters needs one value per head of the labels. Received: "
            f"{len(num_clusters)} values for {len(highest)} heads of "
            f"pseudo_labels={words}. Leave it out, or give "
            f"num_clusters={needed}."
        )
    for head, (count, most) in enumerate(
        zip(num_clusters, highest, strict=False)
    ):
        if count < most:
            raise ValueError(
                f"num_clusters must cover the labels. Received: {count} "
                f"clusters for {most} classes of pseudo_labels={words} in head "
                f"{head}. Leave it out, or give num_clusters={needed}."
            )
