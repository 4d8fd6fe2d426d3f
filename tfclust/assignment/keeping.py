"""Numbers and names that clusters keep from before."""

import pathlib
from typing import NamedTuple

import numpy as np

from tfclust.assignment import comparing, table
from tfclust.assignment.config import OWN
from tfclust.runs import clusters_file

OF_MODEL = "the model's own"


class _Known(NamedTuple):
    """What is known of the clusters, by the place of each among the new ones.

    ids, names: dicts. taken: set of numbers that no other cluster may get.
    path: the table that was compared with; None for the model's own numbers.
    """

    ids: dict
    names: dict
    taken: set
    path: pathlib.Path | None = None


def kept(config, model, before, output, found, say):
    """Numbers of the clusters, int `[K]`, and `{number: name}`.

    Numbers are those of `keep_ids`, else of the run, else of what is replaced.
    A name typed for these images, which lies beside the output, comes before
    the run's.
    """
    asked = _of_images(config.keep_ids, found) if config.keep_ids else None
    run = _of_model(before) if before is not None else None
    old = clusters_file.read(clusters_file.beside(output))
    typed = similar = None
    if config.num_clusters == OWN and is_of(old, model):
        typed = _of_model(old, copied=run is None)
    elif old is not None and old.names and (not asked or asked.path != output):
        similar = _of_replaced(output, old, found, say)
    known = asked or run or typed or similar or _Known({}, {}, set())
    places = _places(known, len(found.groups.centres))
    if known.path:
        _tell_kept(known, found, say)
    named = {
        int(places[k]): name
        for one in (similar, run, typed, asked)
        if one is not None
        for k, name in one.names.items()
        if k < len(places)
    }
    return places, named


def numbers(reference, count):
    """The reference's number of each of the model's clusters, int `[count]`.

    A cluster that was empty then gets one that no other has.
    """
    return _places(_of_model(reference), count)


def check(path, names):
    """Refuses a table to keep numbers of that does not fit, before the pass.

    Args:
      path: str, of the table. names: list of str, of the images.

    Raises:
      ValueError: if its numbers are huge, or it has none of the images.
    """
    comparing.shared(_table(path)[1], (names, [0] * len(names)))


def is_of(found, model):
    """Whether a `ClustersFile`, or None, has a model's own clusters."""
    return found is not None and (model.digest, OF_MODEL) == (
        found.about.get("model"),
        found.about.get("clustering"),
    )


def _tell_kept(known, found, say):
    say(
        f"{len(known.ids):,} clusters keep their numbers from {known.path}; "
        f"{len({*found.groups.labels.tolist()} - {*known.ids}):,} are new."
    )
    images = clusters_file.images_of(known.path)
    if images and not clusters_file.same_images(images, found.source.uri):
        say(
            f"They were of {images}, and these are {found.source.uri}: images "
            "of the same name were taken for the same."
        )


def _of_model(file, copied=True):
    """`_Known` of a `ClustersFile` of the same model's own clusters.

    Without `copied`, names are those alone that are not a run's.
    """
    ids = {c["model_cluster"]: c["id"] for c in file.clusters}
    names = {
        c["model_cluster"]: c["name"]
        for c in file.clusters
        if c["name"] and (copied or not c.get("named_by_run"))
    }
    return _Known(ids, names, {*ids.values()})


def _of_images(path, found):
    """`_Known` of an earlier table, whose clusters have the same images."""
    path, old = _table(path)
    same = comparing.kept_ids(old, (found.names, found.groups.labels))
    names = {k: old[2][i] for k, i in same.items() if i in old[2]}
    return _Known(same, names, {*old[1].tolist()}, path)


def _of_replaced(output, old, found, say):
    """`_Known` of the table at `output`, or None, which is told."""
    images, uri = old.about["images"], found.source.uri
    reason = f"they are of other images, {images}, and these are {uri}."
    if clusters_file.same_images(images, uri):
        try:
            return _of_images(output, found)
        except (OSError, ValueError) as error:
            reason = str(error)
    names = ", ".join(f"{k}: {name}" for k, name in old.names.items())
    say(f"Names beside {output} are not taken over ({names}): {reason}")
    return None


def _table(path):
    """Path and content of an earlier table, which a run's folder holds too."""
    path = clusters_file.table_at(path)
    old = table.read(path)
    largest = int(old[1].max(initial=0))
    if largest > clusters_file.LARGEST_ID:
        raise ValueError(
            "numbers of clusters must be at most "
            f"{clusters_file.LARGEST_ID:,} to be kept. Received: {largest:,} "
            f"in keep_ids={path}. Give a table of tfclust.cluster."
        )
    return path, old


def _places(known, count):
    """The number of each cluster; those without one get the lowest free."""
    places = np.array([known.ids.get(k, -1) for k in range(count)])
    numbers = range(count + len(known.taken))
    free = (k for k in numbers if k not in known.taken)
    for k in np.flatnonzero(places < 0):
        places[k] = next(free)
    return places
