"""Writes the page about a run."""

import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfclust import data
from tfclust.assignment import passing
from tfclust.assignment.config import ModelImages
from tfclust.assignment.model import of_method
from tfclust.engine.figures import FIGURES, in_words
from tfclust.reporting.atlas import MOST_POINTS, atlas
from tfclust.reporting.config import ReportConfig
from tfclust.reporting.curves import draw
from tfclust.reporting.gallery import class_name, gallery, table
from tfclust.reporting.pictures import pictures
from tfclust.reporting.verdict import judge
from tfclust.runs import checkpoints, folder, recipes
from tfclust.runs.loading import RememberedViews, load_run
from tfclust.runs.metrics import read_metrics
from tfclust.runtime import folders, pages, terminal

NO_IMAGES: dict = {
    "clusters": False,
    "has_map": False,
    "table": None,
    "data": {},
}
TEMPLATE = pathlib.Path(__file__).with_name("page.html")


class Assigned(NamedTuple):
    """Images of a run with their clusters: a part of them, or all.

    source: `data.Source` of n images. features `[n, F]`; clusters int32 `[n]`
    and confidence float32 `[n]`, or None for a method without clusters.
    """

    source: data.Source
    total: int  # images of the run
    features: np.ndarray
    clusters: np.ndarray | None
    confidence: np.ndarray | None


def write(config, say=terminal.say):
    """Writes a run's page.

    Args:
      config: `ReportConfig` with a workdir.
      say: called with a sentence on what is left out.

    Returns:
      `pathlib.Path` of the page.

    Raises:
      FileNotFoundError: if there is no run.
      ValueError: if its checkpoints are damaged, or output cannot be written.
    """
    workdir = folders.expanded(config.workdir)
    saved = checkpoints.latest(workdir, say=say)
    if saved is None:
        raise folder.no_run(workdir)
    output = _output(config, workdir)
    assigned = None
    if config.report_images:
        run = load_run(config.workdir)
        model = of_method(run.method, run.recipe.run)
        source = _source(config, model, say)
        if source is not None:
            assigned = _assigned(config, model, source)
    _write(workdir, saved.about, assigned, output)
    return output


def after_training(trained, say):
    """The page of a finished run, in its folder, unless it is there.

    Args:
      trained: `training.fitting.Trained`.
      say: called with sentences.
    """
    workdir, method = trained.workdir, trained.method
    output = workdir / folder.REPORT
    figures = workdir / folder.METRICS
    if output.exists() and output.stat().st_mtime >= figures.stat().st_mtime:
        return
    saved = checkpoints.latest(workdir, say=say)
    source, assigned = method.views.source, None
    hosts = tf.distribute.MultiWorkerMirroredStrategy
    if isinstance(method.distribute_strategy, hosts):
        # One host alone must not call what waits for all.
        if not trained.chief:
            return
        command = f"python -m tfclust.report --workdir={workdir}"
        say(f"For a page with the images of each cluster: {command}")
    elif not source.is_stream:
        config = ReportConfig(workdir=str(workdir))
        model = of_method(method, trained.run)
        assigned = _assigned(config, model, source)
    _write(workdir, saved.about, assigned, output)
    say(f"To look at it: {output}")


def _write(workdir, about, assigned, output):
    recipe = recipes.from_words(about["recipe"])
    history = read_metrics(workdir)
    values = {
        "title": f"{workdir.resolve().name}: {recipe.run.method}",
        "verdict": judge(recipe, RememberedViews(**about["views"]), history),
        "charts": draw({recipe.run.method: history}),
        "command": "python -m tfclust.train "
        f"--flagfile={workdir / folder.CONFIG} --workdir=runs/again",
        "figures": _figures(history),
        "settings": sorted(settings(about).items()),
        "machine": sorted(about["machine"].items()),
        **NO_IMAGES,
    }
    if assigned is not None:
        values |= of_images(
            assigned, getattr(recipe.method, "num_clusters", ())
        )
    with folders.writing(str(output), "Make room, or give another output."):
        pages.write(output, TEMPLATE, **values)


def settings(about):
    """Every knob of a run and its value in words, from its manifest."""
    parts = about["recipe"].values()
    return {knob: value for part in parts for knob, value in part.items()}


def _output(config, workdir):
    if not config.output:
        return workdir / folder.REPORT
    output = folders.expanded(config.output)
    folders.writable("output", output.parent, config.output)
    return output


def _figures(history):
    last = history[-1] if history else {}
    return [
        (FIGURES[name].title, in_words(name, value))
        for name, value in last.items()
        if name in FIGURES and value is not None
    ]


def _source(config, model, say):
    """The run's images; None if they are no longer there."""
    try:
        return passing.open_images(
            ModelImages(workdir=config.workdir), model, say
        )
    except (OSError, ValueError) as error:
        # Old runs are looked at where their images no longer are.
        say(f"The page has no images: {error}")
        return None


def _assigned(config, model, source):
    """At most so many images as the page shows, through the network."""
    total = source.num_images
    count = min(total, config.report_images)
    if count < total:
        source = data.Sample(source, np.arange(count) * total // count)
    images = data.ImagePass(
        model.compute,
        source,
        image_size=model.image_size,
        resize_size=model.resize_size,
        batch_size=config.batch_size,
    )
    with data.telling_lost_images():
        rows = images.run()
    return Assigned(
        source,
        total,
        rows["features"],
        rows.get("cluster"),
        rows.get("cluster_score"),
    )


def of_images(assigned, num_clusters):
    """What the page shows of images and clusters.

    Args:
      assigned: `Assigned`.
      num_clusters: K of each head; the first is the run's own clustering.
    """
    source, clusters = assigned.source, assigned.clusters
    found = []
    if clusters is not None:
        found = gallery(
            clusters,
            assigned.confidence,
            labels=source.labels,
            class_names=source.class_names,
        )
    count = min(MOST_POINTS, source.num_images)
    on_map = np.arange(count) * source.num_images // count
    places = atlas(assigned.features[on_map])
    points = []
    if places is not None:
        points = [
            [int(i), round(float(x), 4), round(float(y), 4)]
            for i, (x, y) in zip(on_map, places, strict=True)
        ]
    shown = [i for c in found for i in (*c.nearest, *c.random, *c.farthest)]
    small = pictures(source, [*shown, *(i for i, _, _ in points)])
    has_labels = source.labels is not None
    number = num_clusters[0] if found else 0
    return {
        "clusters": bool(found),
        "counted": _counted(assigned, len(found), number),
        "has_labels": has_labels,
        "has_map": bool(points),
        "table": table(clusters, source.labels, source.class_names)
        if has_labels and found
        else None,
        "data": {
            "images": _described(assigned, small),
            "clusters": [cluster._asdict() for cluster in found],
            "num_clusters": max(number, len(found)),
            "points": points,
        },
    }


def _described(assigned, small):
    source = assigned.source
    described = []
    for i, name in enumerate(source.manifest().names):
        image = {"name": terminal.one_line(name), "cluster": 0}
        if assigned.clusters is not None:
            image["cluster"] = int(assigned.clusters[i])
        if i in small:
            image["picture"] = small[i]
        if source.labels is not None and source.labels[i] >= 0:
            image["label"] = class_name(source.labels[i], source.class_names)
        described.append(image)
    return described


def _counted(assigned, used, number):
    images = f"{assigned.source.num_images:,} images"
    if assigned.source.num_images < assigned.total:
        images += f" of {assigned.total:,}, evenly spaced,"
    words = f"{images} in {used:,} of {number:,} clusters, by the run's own"
    return f"{words} clustering; no label was used."
