"""Which cluster is which: numbers and names that last, and who fits none."""

import numpy as np

from tfclust import saved_model
from tfclust.assignment import figures, keeping, table
from tfclust.assignment.config import OWN
from tfclust.runs import clusters_file, folder
from tfclust.runtime import files, folders
from tfclust.runtime.terminal import one_line

_EXEMPLARS = 5


def settle(config, model, output, found, say):
    """The `ClustersFile` of images in clusters, with numbers that are kept.

    Args:
      config: `ClusterConfig`. model: `Model`. output: `pathlib.Path`.
      found: `assigning.Assigned`; its arrays of numbers are changed in place.
      say: called with sentences.
    """
    own = config.num_clusters == OWN
    before = reference(config, model) if own else None
    if config.drift:
        _tell_drift(config, before, output, found, say)
    count = len(found.groups.centres)
    places, named = keeping.kept(config, model, before, output, found, say)
    if config.names:
        given = clusters_file.read_names(config.names)
        there = {*places[found.groups.labels].tolist()}
        unknown = sorted(set(given) - there)
        if unknown:
            say(f"Names of clusters that are not there: {unknown}.")
        named = named | given
    model_clusters = np.full(places.max() + 1, -1)
    model_clusters[places] = np.arange(count)
    _renumber(found, places)
    of_run = before.model_names if before is not None else {}
    return _file(config, model, found, model_clusters, named, of_run)


def reference(config, model):
    """What was kept of the training's images, or None.

    A run's own is from its end; more training since then may have moved its
    clusters.
    """
    if config.workdir:
        path = folders.expanded(config.workdir) / folder.CLUSTERS_FILE
    else:
        version = saved_model.newest_version(config.saved_model)
        path = version / saved_model.CLUSTERS_FILE
    found = clusters_file.read(path)
    return found if keeping.is_of(found, model) else None


def by_training(groups, reference):
    """The model's own clusters, in the middle where the training had them.

    Args:
      groups: `Groups` of new images. reference: `ClustersFile`, or None.

    Returns:
      `Groups`, whose centres are the training's where it had images, and have
      rows for clusters that none of the new images is in: one of them may be
      an image's second choice; and the distance from which on an image fitted
      badly there, `[K]`, NaN where it had none, or None without a reference.
    """
    if reference is None or reference.centres is None:
        return groups, None
    known = {c["model_cluster"]: c for c in reference.clusters}
    more = max(0, max(known, default=-1) + 1 - len(groups.centres))
    centres = np.pad(groups.centres, ((0, more), (0, 0)))
    reach = np.full(len(centres), np.nan)
    for k in range(len(centres)):
        if k in known and known[k]["id"] < len(reference.centres):
            centres[k] = reference.centres[known[k]["id"]]
            reach[k] = known[k]["reach"]
    return groups._replace(centres=centres), reach


def check(config, model, source):
    """Refuses, before the pass, what earlier clusters do not allow.

    Args:
      config: `ClusterConfig`. model: `Model`. source: `data.Source`.

    Raises:
      ValueError: if the run's clusters file is damaged, or there is none for
        drift, or the table of keep_ids does not fit.
    """
    own = config.num_clusters == OWN
    before = reference(config, model) if own else None  # or it is damaged
    if config.drift:
        _check_drift(config, before)
    if config.keep_ids:
        keeping.check(config.keep_ids, source.manifest().names)


def _check_drift(config, reference):
    """Refuses drift where nothing is known of the training's images.

    Args:
      config: `ClusterConfig`. reference: `ClustersFile`, or None.
    """
    if reference is None or reference.centres is None:
        raise ValueError(
            "drift compares with the run's own images, of which nothing is "
            "known. Received: drift with "
            f"{config.workdir or config.saved_model}. Run tfclust.cluster on "
            "the run itself first (--workdir, without data), and export "
            "again."
        )


def _tell_drift(config, reference, output, found, say):
    """Marks and lists the images that fit none of the training's clusters."""
    _check_drift(config, reference)
    labels = of_model(reference, found.groups.labels)
    reach = {c["id"]: c["reach"] for c in reference.clusters}
    # A cluster that was empty then has no centre: its images fit nothing.
    missing = max(0, int(labels.max()) + 1 - len(reference.centres))
    centres = np.pad(reference.centres, ((0, missing), (0, 0)))
    distance, _ = figures.place(found.features, centres, labels)
    beyond = np.array([reach.get(k, -1.0) for k in labels.tolist()])
    strange = distance > beyond
    found.figures.outlier[:] = strange
    share, before = strange.mean(), reference.about["outliers"]
    path = output.with_name(f"{output.stem}.drift.txt")
    rows = np.flatnonzero(strange)
    rows = rows[np.argsort(-distance[rows], kind="stable")]
    names = table.readable(found.names[i] for i in rows)
    files.write_text(path, "".join(f"{one_line(n)}\n" for n in names))
    say(
        f"Drift: {len(rows):,} of {len(strange):,} images ({share:.1%}) fit no "
        f"cluster; of the training's own images {before:.1%} did not. They are "
        f"listed in {path}, the strangest first."
    )


def of_model(reference, labels):
    """The reference's numbers of the model's own ones."""
    return keeping.numbers(reference, int(labels.max()) + 1)[labels]


def _renumber(found, places):
    labels, second = found.groups.labels, found.figures.second
    labels[:] = places[labels]
    second[second >= 0] = places[second[second >= 0]]


def _file(config, model, found, model_clusters, named, of_run):
    own = config.num_clusters == OWN
    labels, distance = found.groups.labels, found.figures.distance
    count = len(model_clusters)
    sizes = np.bincount(labels, minlength=count)
    used = model_clusters >= 0
    centres = np.zeros([count, found.features.width], np.float32)
    centres[used] = found.groups.centres[model_clusters[used]]
    order = np.lexsort([distance, labels])
    ends = np.cumsum(sizes)
    clusters = [
        {
            "id": k,
            "model_cluster": int(model_clusters[k]) if own else None,
            "name": named.get(k, ""),
            # Such a name follows the run's, if that gets another.
            "named_by_run": of_run.get(model_clusters[k], "") == named.get(k),
            "size": int(sizes[k]),
            "exemplars": [
                found.names[i]
                for i in order[ends[k] - sizes[k] : ends[k]][:_EXEMPLARS]
            ],
            "reach": float(found.figures.reach[model_clusters[k]]),
        }
        for k in np.flatnonzero(sizes).tolist()
    ]
    about = {
        "images": found.source.uri,
        "num_images": len(found.rows),
        "model": model.digest,
        "step": model.step if own else None,
        "clustering": config.num_clusters or keeping.OF_MODEL,
        "outliers": float(found.figures.outlier.mean()),
    }
    return clusters_file.ClustersFile(about, clusters, centres)
