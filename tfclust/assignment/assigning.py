"""Every image its cluster: from a model and images to the table and more."""

from typing import NamedTuple

import numpy as np

from tfclust import data
from tfclust.assignment import (
    choosing,
    duplicates,
    figures,
    groups,
    identity,
    passing,
    picking,
    sorting,
    table,
)
from tfclust.assignment import model as models
from tfclust.assignment.config import AUTO, HDBSCAN, OWN, ClusterConfig
from tfclust.assignment.store import working_folder
from tfclust.assignment.unit_features import UnitFeatures
from tfclust.ops import filling
from tfclust.runs import clusters_file, folder
from tfclust.runtime import devices, folders, terminal


class Assigned(NamedTuple):
    """Images in clusters, before they are written.

    rows int `[n]`, indices in the source; names list of n str; duplicate_of
    list of n names, "" for none; threshold float, of near duplicates.
    """

    source: data.Source
    rows: np.ndarray
    names: list
    features: UnitFeatures
    groups: groups.Groups
    figures: figures.Figures
    duplicate_of: list
    threshold: float


class Shown(NamedTuple):
    """Images of a model with their clusters, to look at: a part, or all.

    source: `data.Source` of n images. features float32 `[n, F]`; clusters int
    `[n]` and confidence float32 `[n]`, or None for a method without clusters.
    named: `{cluster: name}` of those that have one.
    """

    source: data.Source
    total: int  # images of which these are a part
    features: np.ndarray
    clusters: np.ndarray | None
    confidence: np.ndarray | None
    named: dict


def assign(config, output, say):
    """Writes the table, and whatever else a `ClusterConfig` asks for.

    Args:
      config: `ClusterConfig`. output: `pathlib.Path`. say: called with
      sentences.
    """
    model = models.open_model(config)
    _check_clusters(config, model)
    source = passing.open_images(config, model, say)
    identity.check(config, model, source)
    if config.num_clusters.isdecimal():
        filling.check_filling(source.num_images, int(config.num_clusters))
    assign_source(config, model, source, output, say)


def after_training(trained, most, say):
    """The table of a finished run, in its folder, unless it is there.

    Args:
      trained: `training.fitting.Trained`.
      most: int, images in what is returned.
      say: called with sentences.

    Returns:
      `Shown`, or None if nothing was written: the table is there, the images
      are a stream, the method has no clusters, or several hosts have trained.
    """
    method, workdir = trained.method, trained.workdir
    source = method.views.source
    if source.is_stream or not hasattr(method, "clusterer"):
        return None
    if devices.spans_hosts(method.distribute_strategy):
        # One host alone must not call what waits for all.
        if trained.chief:
            command = terminal.command("cluster", workdir=workdir)
            say(f"For the cluster of each image: {command}")
        return None
    output = workdir / folder.CLUSTERS
    before = clusters_file.read(workdir / folder.CLUSTERS_FILE)
    if (
        output.exists()
        and before is not None
        and before.about.get("step") == trained.step
    ):
        return None
    config = ClusterConfig(workdir=str(workdir))
    if before is not None and before.names and output.exists():
        # Names that a person gave outlive more training.
        config = ClusterConfig(workdir=str(workdir), keep_ids=str(output))
    model = models.of_method(method, trained.run)
    # What failed once while it trained is listed, and may be there again.
    source.failures.clear()
    source.when_failing(None)
    return assign_source(config, model, source, output, say, most)


def assign_source(config, model, source, output, say, most=0):
    """As `assign`, for a model and images that are open.

    Returns:
      `Shown` of at most `most` images, evenly spaced.
    """
    sort_into = _sort_into(config, source, output)
    with working_folder(output) as work:
        store, present = passing.computed(
            work, model, source, config.batch_size, "Assigning"
        )
        found = _grouped(config, model, source, store, present, work, say)
        about = identity.settle(config, model, output, found, say)
        written = _table(found, about)
        if config.pick:
            _write_picked(config, output, found, written, say)
        if config.gallery:
            from tfclust.assignment import gallery

            path = folders.expanded(config.gallery)
            gallery.write(path, found, written, about)
            say(f"Gallery: {path}")
        left_out = passing.list_left_out(output, source, store.notes, say)
        table.write(output, written)
        # Last, since it says of which step the table is.
        clusters_file.write(clusters_file.beside(output), about)
        if sort_into is not None:
            link = bool(config.link_into)
            sorting.sort(sort_into, source, found.rows, written, link=link)
            say(f"Sorted into: {sort_into}")
        shown = _shown(found, about, most)
        store.remove()
    for line in _in_words(found, measured=config.duplicate_distance is None):
        say(line)
    passing.tell_left_out(left_out, output, say)
    say(f"Written: {output}")
    return shown


def _shown(found, about, most):
    some = found.features.sample(most)
    return Shown(
        data.Sample(found.source, found.rows[some]),
        len(found.rows),
        found.features.take(some),
        found.groups.labels[some],
        found.groups.confidence[some],
        about.names,
    )


def _check_clusters(config, model):
    if config.num_clusters == OWN and not model.has_clusters:
        raise ValueError(
            "the model has no clusters of its own. Received: saved_model="
            f"{config.saved_model or config.workdir} without num_clusters. "
            "Give --num_clusters=auto, or a number."
        )


def _sort_into(config, source, output):
    argument = "link_into" if config.link_into else "copy_into"
    given = getattr(config, argument)
    if not given:
        return None
    uri = config.data or source.uri
    outputs = {"output": output, "gallery": config.gallery}
    target = sorting.check(argument, given, uri, outputs)
    if not hasattr(source, "path"):
        raise ValueError(
            f"{argument} needs images that are files of a folder. Received: "
            f"{source.uri}. Leave {argument} out."
        )
    return target


def _grouped(config, model, source, store, present, work, say):
    """`Assigned`; rows of images that are gone do not count."""
    rows = np.flatnonzero(present)
    features = UnitFeatures(store.column("features"), rows)
    found, reach = _groups(config, features, store, rows, say), None
    if config.num_clusters == OWN and config.data:
        # New images are measured by those of the training, however few.
        known = identity.reference(config, model)
        found, reach = identity.by_training(found, known)
    measured = figures.measure(features, found, reach)
    threshold = config.duplicate_distance
    if threshold is None:
        threshold = duplicates.measured_distance(model, source, rows, features)
    first = duplicates.find(features, found.labels, measured.second, threshold)
    names = source.manifest().names
    names = [names[i] for i in rows]
    duplicate_of = [names[i] if i >= 0 else "" for i in first]
    if config.known_data:
        _add_known(config, model, work, features, threshold, duplicate_of, say)
    return Assigned(
        source, rows, names, features, found, measured, duplicate_of, threshold
    )


def _groups(config, features, store, rows, say):
    wanted = config.num_clusters
    if wanted == OWN:
        labels, scores = (
            store.column(name)[rows] for name in ("cluster", "cluster_score")
        )
        return groups.own(features, labels, scores)
    if wanted == HDBSCAN:
        return groups.by_hdbscan(features, config.min_cluster_size)
    if wanted == AUTO:
        tried = choosing.tried(features, config.seed)
        for line in choosing.in_words(tried):
            say(line)
        return groups.by_kmeans(features, choosing.advised(tried), config.seed)
    return groups.by_kmeans(features, int(wanted), config.seed)


def _add_known(config, model, work, features, threshold, duplicate_of, say):
    source = passing.open_images(config, model, say, "known_data")
    store, present = passing.computed(
        work / "known", model, source, config.batch_size, "Known images"
    )
    rows = np.flatnonzero(present)
    bank = UnitFeatures(store.column("features"), rows)
    names = source.manifest().names
    nearest = duplicates.known(features, bank, threshold)
    for i in np.flatnonzero(nearest >= 0):
        duplicate_of[i] = f"known:{names[rows[nearest[i]]]}"
    say(f"{np.count_nonzero(nearest >= 0):,} images are known already.")
    store.remove()


def _table(found, about):
    labels, named = found.groups.labels, about.names
    return table.Table(
        found.names,
        labels,
        [named.get(k, "") for k in labels.tolist()],
        found.groups.confidence,
        found.figures.distance,
        found.figures.second,
        found.figures.outlier,
        found.duplicate_of,
    )


def _write_picked(config, output, found, written, say):
    """The images chosen, one name a line, in the order to look at them."""
    duplicate = np.array([bool(name) for name in written.duplicate_of])
    chosen = picking.pick(
        found.features,
        written.cluster,
        written.distance,
        duplicate | written.outlier,
        config.pick,
    )
    path = output.with_name(f"{output.stem}.picked.csv")
    table.write(path, table.chosen(written, chosen))
    say(f"Picked {len(chosen):,} images: {path}")


def _in_words(found, measured):
    counts = np.bincount(found.groups.labels)
    used = counts[counts > 0]
    outliers = int(found.figures.outlier.sum())
    same = sum(map(bool, found.duplicate_of))
    yield (
        f"{len(found.rows):,} images in {len(used):,} clusters of "
        f"{used.min():,} to {used.max():,}, half of them of at least "
        f"{int(np.median(used)):,}."
    )
    how = " (as slightly changed copies are)" if measured else ""
    yield (
        f"{outliers:,} outliers, far from the middle of their cluster; "
        f"{same:,} near duplicates, at most {found.threshold:.2g} from another "
        f"image{how}."
    )
