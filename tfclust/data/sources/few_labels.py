"""Training images by a list or a share of their labels; labels that agree.

Fine-tuning on 1 % and 10 % of ImageNet follows SimCLR's two lists of image
names (Chen et al. 2020, arXiv:2002.05709, section 4.1), which keep each class's
share. For other images the same is drawn by a seed.
"""

import os

import numpy as np

from tfclust.data.sources.parts import Sample
from tfclust.runtime import files, folders
from tfclust.runtime.terminal import one_line

_SHOWN = 3


def stratified(source, share, seed):
    """A share of the labelled images, drawn class by class.

    Args:
      source: a `Source` with labels, one an image or several.
      share: float in (0, 1].
      seed: int >= 0.

    Returns:
      `Sample` of `source`, in its order. Of a class of n images it has
      n * share, rounded, and at least one. Where images have several labels,
      whole images are drawn: n * share of all, rounded, and at least one.

    Raises:
      ValueError: if there are no labels.
    """
    random = np.random.default_rng([seed, 0x6C61])
    if source.label_sets is not None:
        groups = [np.arange(source.num_images)]
    elif source.labels is not None:
        classes = np.unique(source.labels[source.labels >= 0])
        groups = [np.flatnonzero(source.labels == c) for c in classes]
    else:
        groups = []
    if not groups:
        raise ValueError(
            "label_share needs labelled training images. Received: "
            f"label_share={share:g} for {source.uri} without labels. Give "
            "images in class folders."
        )
    kept = [
        random.permutation(rows)[: max(1, round(share * len(rows)))]
        for rows in groups
    ]
    return Sample(source, np.sort(np.concatenate(kept)))


def listed(source, path, argument="label_list"):
    """The images that a file names, one a line.

    Args:
      source: a `Source`.
      path: of a text file. A line is an image's name as the source has it, or
        the last part of it where no other image has the same, as in SimCLR's
        lists.
      argument: str, for errors.

    Returns:
      `Sample` of `source`, in its order.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it names no image, or one that `source` does not have.
    """
    lines = _lines(path, argument)
    rows = _rows_by_name(source.manifest().names)
    unknown = [name for name in lines if rows.get(name) is None]
    if unknown or not lines:
        shown = ", ".join(map(one_line, unknown[:_SHOWN])) or "an empty file"
        raise ValueError(
            f"{argument} must name images of the training data, one a line, "
            f"such as {one_line(source.manifest().names[0])}. Received: "
            f"{one_line(path)} with {len(unknown)} of {len(lines)} names that "
            f"{source.uri} does not have, or has twice: {shown}."
        )
    return Sample(source, np.unique([rows[name] for name in lines]))


def write_list(source, path):
    """Writes the names of a source's images, as `listed` reads them.

    Raises:
      ValueError: if the file is there and names other images.
    """
    path = folders.expanded(path)
    words = "".join(f"{name}\n" for name in source.manifest().names)
    if path.exists():
        if path.read_text("utf-8", "surrogateescape") != words:
            raise ValueError(
                "label_list must be a new file for the images that label_share "
                f"draws, or the same as they. Received: label_list={path}, "
                "which names others. Leave label_share out to use it, or give "
                "another path."
            )
        return
    folders.writable("label_list", path.parent, given=path)
    with files.replacing(path) as file:
        file.write(words.encode("utf-8", "surrogateescape"))


def _lines(path, argument):
    try:
        words = folders.expanded(path).read_bytes()
    except OSError as error:
        raise FileNotFoundError(
            f"{argument} must be a file with the names of images, one a line. "
            f"Received: {argument}={one_line(path)} ({error.strerror}). With "
            "label_share it is written."
        ) from error
    lines = words.decode("utf-8", "surrogateescape").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _rows_by_name(names):
    """`{name: row}`, also by last parts; None where two images have one."""
    rows: dict = {}
    for row, name in enumerate(names):
        last = os.path.basename(name)
        for short in {last, os.path.splitext(last)[0]} - {name}:
            rows[short] = None if short in rows else row
    rows.update({name: row for row, name in enumerate(names)})
    return rows
