"""A page with pictures of each cluster; its names can be typed there."""

import pathlib

import numpy as np

from tfclust.assignment.cards import MOST_PICTURES, cards, with_pictures
from tfclust.assignment.pictures import pictures
from tfclust.runtime import folders, pages, terminal

TEMPLATE = pathlib.Path(__file__).with_name("gallery.html")
_MOST_NAMES = 10_000  # of more images, only those with a picture are found


def write(path, found, table, about):
    """Writes the page, as a whole or not at all.

    Args:
      path: `pathlib.Path`. found: `assigning.Assigned`.
      table: `Table` of the same images. about: `ClustersFile`.
    """
    clusters = cards(
        table.cluster,
        -table.distance,
        names=about.names,
        outlier=table.outlier,
    )
    listed = clusters[:MOST_PICTURES]
    shown = with_pictures(listed)
    count = len(table.name)
    kept = range(count) if count <= _MOST_NAMES else sorted({*shown})
    images = {i: _described(table, i) for i in kept}
    words = {
        "naming": True,
        "ends": ["nearest to the middle", "farthest"],
        "num_images": count,
        "images": [*images.values()],
        "clusters": [_at(c, kept) for c in listed],
    }
    small = pictures(found.source, found.rows[shown], words)
    for i in shown:
        images[i]["picture"] = small[int(found.rows[i])]
    with folders.writing(str(path), "Make room, or give another gallery."):
        pages.write(
            path,
            TEMPLATE,
            title=f"Clusters of {terminal.one_line(about.about['images'])}",
            counted=_counted(count, len(clusters), len(listed)),
            has_labels=False,
            data=words,
        )


def _described(table, i):
    return {
        "name": terminal.one_line(table.name[i]),
        "cluster": int(table.cluster[i]),
    }


def _at(cluster, kept):
    """A card whose images are places among those on the page."""
    return cluster._asdict() | {
        which: np.searchsorted(kept, getattr(cluster, which)).tolist()
        for which in ("nearest", "random", "farthest")
    }


def _counted(num_images, num_clusters, num_listed):
    words = f"{num_images:,} images in {num_clusters:,} clusters."
    if num_listed < num_clusters:
        words += f" The smallest {num_clusters - num_listed:,} are not shown."
    if num_images > _MOST_NAMES:
        words += " Images without a picture here are in the table alone."
    return words
