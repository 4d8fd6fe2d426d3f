"""Writes a page about several runs, side by side."""

import pathlib

from tfclust.engine.figures import FIGURES, in_words
from tfclust.reporting.curves import draw
from tfclust.reporting.page import settings
from tfclust.reporting.verdict import judge
from tfclust.runs import checkpoints, folder, recipes
from tfclust.runs.loading import RememberedViews
from tfclust.runs.metrics import read_metrics
from tfclust.runtime import folders, pages, terminal

TEMPLATE = pathlib.Path(__file__).with_name("compared.html")
# Where a run is, not how it learns.
_PLACES = {"workdir", "cache_dir"}


def write(config, say=terminal.say):
    """Writes the page of several runs.

    Args:
      config: `ReportConfig` with workdirs and output.
      say: called with a sentence on damaged checkpoints.

    Returns:
      `pathlib.Path` of the page.

    Raises:
      FileNotFoundError: if a folder holds no run.
      ValueError: if output cannot be written.
    """
    output = folders.writable_file("output", config.output)
    histories, words, verdicts = {}, {}, {}
    names = _names([folders.expanded(path) for path in config.workdirs])
    for name, path in names.items():
        saved = checkpoints.latest(path, say=say)
        if saved is None:
            raise folder.no_run(path)
        histories[name] = read_metrics(path)
        recipe = recipes.from_words(saved.about["recipe"])
        words[name] = settings(saved.about)
        views = RememberedViews(**saved.about["views"])
        verdicts[name] = judge(recipe, views, histories[name])
    with folders.writing(str(output), "Make room, or give another output."):
        pages.write(
            output,
            TEMPLATE,
            title=f"{len(names)} runs side by side",
            verdicts=verdicts,
            charts=draw(histories),
            figures=_figures(histories),
            knobs=_differing(words),
        )
    return output


def _names(paths):
    """Short names that tell the folders apart."""
    short = [path.resolve().name for path in paths]
    if len(set(short)) < len(short):
        short = [str(path) for path in paths]
    return dict(zip(short, paths, strict=True))


def _figures(histories):
    """Rows (title, values by run) of the last epochs' figures."""
    last = {run: h[-1] if h else {} for run, h in histories.items()}
    return [
        (
            figure.title,
            [
                "" if found.get(name) is None else in_words(name, found[name])
                for found in last.values()
            ],
        )
        for name, figure in FIGURES.items()
        if any(found.get(name) is not None for found in last.values())
    ]


def _differing(words):
    """Rows (knob, values by run) of the knobs in which runs differ."""
    knobs = dict.fromkeys(knob for found in words.values() for knob in found)
    rows = [
        (knob, [str(found.get(knob, "")) for found in words.values()])
        for knob in knobs
        if knob not in _PLACES
    ]
    return [(knob, values) for knob, values in rows if len(set(values)) > 1]
