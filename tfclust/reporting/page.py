"""Writes the page about a run."""

import pathlib

import numpy as np

from tfclust import data
from tfclust.assignment import identity, passing
from tfclust.assignment.assigning import Shown
from tfclust.assignment.cards import cards, class_name, with_pictures
from tfclust.assignment.config import ModelImages
from tfclust.assignment.model import of_method
from tfclust.assignment.pictures import pictures
from tfclust.engine.figures import FIGURES, in_words
from tfclust.ops.rank import effective_rank
from tfclust.reporting import projector
from tfclust.reporting.atlas import MOST_POINTS, atlas
from tfclust.reporting.config import ReportConfig
from tfclust.reporting.curves import draw
from tfclust.reporting.labels import table
from tfclust.reporting.verdict import judge
from tfclust.runs import checkpoints, folder, recipes
from tfclust.runs.loading import RememberedViews, load_run
from tfclust.runs.metrics import read_metrics
from tfclust.runtime import devices, folders, pages, terminal

NO_IMAGES: dict = {
    "clusters": False,
    "has_map": False,
    "table": None,
    "data": {},
}
MAP_WORDS = {"tsne": "t-SNE", "umap": "UMAP"}
TEMPLATE = pathlib.Path(__file__).with_name("page.html")


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
    output = _output(config)
    shown = NO_IMAGES
    if config.report_images:
        run = load_run(config.workdir)
        model = of_method(run.method, run.recipe.run)

        def images():
            named = ModelImages(workdir=config.workdir)
            source = passing.open_images(named, model, say)
            return _assigned(config, model, source)

        if config.map == "umap":
            say("The map is made by UMAP, which compiles first: a minute.")
        shown = _shown(images, run.recipe, say, config.map)
    _write(workdir, saved.about, shown, output)
    return output


def after_training(trained, assigned, say):
    """The page of a finished run, in its folder, unless it is there.

    Args:
      trained: `training.fitting.Trained`.
      assigned: `Shown`, if its images have been through the network; or None.
      say: called with sentences.
    """
    workdir, method = trained.workdir, trained.method
    config = ReportConfig(workdir=str(workdir))
    output, figures = _output(config), workdir / folder.METRICS
    if output.exists() and output.stat().st_mtime >= figures.stat().st_mtime:
        return
    saved = checkpoints.latest(workdir, say=say)
    source, shown = method.views.source, NO_IMAGES
    if devices.spans_hosts(method.distribute_strategy):
        # One host alone must not call what waits for all.
        if not trained.chief:
            return
        command = terminal.command("report", workdir=workdir)
        say(f"For a page with the images of each cluster: {command}")
    elif not source.is_stream:
        recipe = recipes.from_words(saved.about["recipe"])

        def images():
            found = assigned
            if found is None:
                model = of_method(method, trained.run)
                found = _assigned(config, model, source)
            projector.write(workdir / folder.TENSORBOARD, found)
            return found

        shown = _shown(images, recipe, say)
    verdict = _write(workdir, saved.about, shown, output)
    say(f"{verdict.sentence} To look at it: {output}")
    for sentence in verdict.unsaid:
        say(f"  {sentence}")


def _write(workdir, about, shown, output):
    """Writes the page; returns its `Verdict`."""
    recipe = recipes.from_words(about["recipe"])
    views, history = RememberedViews(**about["views"]), read_metrics(workdir)
    verdict = judge(recipe, views, history, shown.get("directions"))
    values = {
        "title": f"{workdir.resolve().name}: {recipe.run.method}",
        "verdict": verdict,
        "charts": draw({recipe.run.method: history}),
        "command": terminal.command(
            "train", flagfile=workdir / folder.CONFIG, workdir="runs/again"
        ),
        "figures": _figures(history),
        "settings": sorted(settings(about).items()),
        "machine": sorted(about["machine"].items()),
        **shown,
    }
    with folders.writing(str(output), "Make room, or give another output."):
        pages.write(output, TEMPLATE, **values)
    return verdict


def settings(about):
    """Every knob of a run and its value in words, from its manifest."""
    parts = about["recipe"].values()
    return {knob: value for part in parts for knob, value in part.items()}


def _output(config):
    own = folders.expanded(config.workdir) / folder.REPORT
    return folders.writable_file("output", config.output or own)


def _figures(history):
    last = history[-1] if history else {}
    return [
        (FIGURES[name].title, in_words(name, value))
        for name, value in last.items()
        if name in FIGURES and value is not None
    ]


def _shown(images, recipe, say, kind="tsne"):
    """`of_images` of the run's; without any if they are no longer there.

    Args:
      images: function without arguments that returns `Shown`.
    """
    try:
        num_clusters = getattr(recipe.method, "num_clusters", ())
        return of_images(images(), num_clusters, kind)
    except (OSError, ValueError) as error:
        # Old runs are looked at where their images no longer are, and broken
        # ones are those of which a page is wanted most.
        say(f"The page has no images: {error}")
        return NO_IMAGES


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
    passing.check_finite(rows["features"], source)
    clusters, named = rows.get("cluster"), {}
    known = identity.reference(config, model)
    if clusters is not None and known is not None:
        # The numbers and names of the run's table.
        clusters, named = identity.of_model(known, clusters), known.names
    return Shown(
        source,
        total,
        rows["features"],
        clusters,
        rows.get("cluster_score"),
        named,
    )


def of_images(assigned, num_clusters, kind="tsne"):
    """What the page shows of images and clusters.

    Args:
      assigned: `Shown`.
      num_clusters: K of each head; the first is the run's own clustering.
      kind: of the map, as for `atlas`.
    """
    source, clusters = assigned.source, assigned.clusters
    found = []
    if clusters is not None:
        found = cards(
            clusters,
            assigned.confidence,
            labels=source.labels,
            class_names=source.class_names,
            names=assigned.named,
        )
    count = min(MOST_POINTS, source.num_images)
    on_map = np.arange(count) * source.num_images // count
    places = atlas(assigned.features[on_map], kind=kind)
    points = []
    if places is not None:
        points = [
            [int(i), round(float(x), 4), round(float(y), 4)]
            for i, (x, y) in zip(on_map, places, strict=True)
        ]
    shown = [*with_pictures(found), *(i for i, _, _ in points)]
    has_labels = source.labels is not None
    number = num_clusters[0] if found and num_clusters else len(found)
    images = _described(assigned)
    words = {
        "naming": False,
        "ends": ["surest", "least sure"],
        "images": images,
        "clusters": [cluster._asdict() for cluster in found],
        "num_clusters": max(number, len(found)),
        "points": points,
    }
    for i, picture in pictures(source, shown, words).items():
        images[i]["picture"] = picture
    return {
        "directions": effective_rank(assigned.features),
        "clusters": bool(found),
        "counted": _counted(assigned, len(found), number),
        "has_labels": has_labels,
        "has_map": bool(points),
        "map_kind": MAP_WORDS[kind],
        "table": table(clusters, source.labels, source.class_names)
        if has_labels and found
        else None,
        "data": words,
    }


def _described(assigned):
    source = assigned.source
    described = []
    for i, name in enumerate(source.manifest().names):
        image = {"name": terminal.one_line(name), "cluster": None}
        if assigned.clusters is not None:
            image["cluster"] = int(assigned.clusters[i])
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
