"""Curves of a run's figures over its epochs, as SVG."""

import math
from typing import NamedTuple

from markupsafe import Markup, escape

from tfclust.engine.figures import in_words

_WIDTH, _HEIGHT = 480, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 26  # margins
_MOST_POINTS = 400  # of a curve; beyond, means of neighbours


class Chart(NamedTuple):
    """Figures that belong on one chart, and what they mean.

    figures: names in `metrics.jsonl` and how the legend calls them. lowest,
    highest: bounds of the axis, or None for those of the values. line: a level
    to compare with and its name, or None.
    """

    title: str
    meaning: str
    figures: tuple
    lowest: float | None = None
    highest: float | None = None
    line: tuple | None = None


CHARTS = (
    Chart(
        "Loss against blind guessing",
        "1 is what guessing gives: nothing is learnt yet. It should fall in "
        "the first epochs and go on falling.",
        (("loss_over_log_k", "loss / chance"),),
        lowest=0.0,
        line=(1.0, "blind guessing"),
    ),
    Chart("Loss", "It should fall.", (("loss", "loss"),)),
    Chart(
        "Clusters in use",
        "How many clusters of equal size would be as varied as these. One or "
        "two mean that all images look the same to the network.",
        (("effective_clusters", "in use"), ("empty_clusters", "empty")),
        lowest=0.0,
    ),
    Chart(
        "Largest cluster",
        "Its share of all images; near 100 % one cluster swallows the rest.",
        (("largest_cluster_share", "share of images"),),
        lowest=0.0,
    ),
    Chart(
        "Images that changed cluster",
        "Since the epoch before. It falls as clusters settle; methods that "
        "cluster anew also number them anew, and it stays high.",
        (("changed_share", "share of images"),),
        lowest=0.0,
        highest=1.0,
    ),
    Chart(
        "Agreement of clusters",
        "With those of the epoch before (NMI), and with the labels, which "
        "training never sees (AMI: 0 is chance, 1 the same groups).",
        (
            ("nmi_previous", "epoch before"),
            ("ami_labels", "labels, AMI"),
        ),
        lowest=0.0,
        highest=1.0,
    ),
    Chart(
        "Nearest neighbours",
        "How often an image's most similar ones have its label, against "
        "always naming the largest class.",
        (("knn_accuracy", "kNN"), ("knn_chance", "largest class")),
        lowest=0.0,
        highest=1.0,
    ),
    Chart("Learning rate", "", (("learning_rate", "rate"),), lowest=0.0),
    Chart(
        "Speed",
        "Images in a second of training.",
        (("images_per_second", "images/s"),),
        lowest=0.0,
    ),
)


class Drawn(NamedTuple):
    """A chart of one or several runs, ready for a page."""

    title: str
    meaning: str
    legend: list  # of words, in the order of the curves' colours
    svg: Markup


def draw(histories, charts=CHARTS):
    """`Drawn` charts of those figures that the runs have.

    Args:
      histories: dict from a run's name to its epochs' figures. With one run the
        legend has no names.
      charts: of `Chart`.
    """
    found = []
    for chart in charts:
        curves = [
            (_label(run, words, histories), name, points)
            for name, words in chart.figures
            for run, history in histories.items()
            if (points := _points(history, name))
        ]
        if curves and any(len(points) > 1 for _, _, points in curves):
            legend = [words for words, _, _ in curves]
            svg = _svg(chart, curves)
            found.append(Drawn(chart.title, chart.meaning, legend, svg))
    return found


def _label(run, words, histories):
    return words if len(histories) == 1 else f"{run}: {words}"


def _points(history, name):
    """(epoch, value) of a figure where it is known."""
    points = [
        (figures["epoch"], figures[name])
        for figures in history
        if figures.get(name) is not None
    ]
    group = math.ceil(len(points) / _MOST_POINTS) or 1
    parts = [points[i : i + group] for i in range(0, len(points), group)]
    return [
        (part[-1][0], sum(v for _, v in part) / len(part)) for part in parts
    ]


def _svg(chart, curves):
    values = [v for _, _, points in curves for _, v in points]
    if chart.line:
        values.append(chart.line[0])
    low = min(values) if chart.lowest is None else min(chart.lowest, *values)
    high = max(values) if chart.highest is None else max(chart.highest, *values)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    first = min(e for _, _, points in curves for e, _ in points)
    last = max(e for _, _, points in curves for e, _ in points)

    def place(epoch, value):
        x = _LEFT + (epoch - first) / max(1, last - first) * _inner_width()
        y = _TOP + (high - value) / (high - low) * _inner_height()
        return f"{x:.1f},{y:.1f}"

    name = curves[0][1]
    parts = [_axes(first, last, low, high, name)]
    if chart.line:
        level, words = chart.line
        y = place(first, level).split(",")[1]
        # Below a level at the very top, where words would be cut.
        beside = float(y) + (-4 if float(y) > _TOP + 8 else 14)
        parts.append(
            f'<line class="level" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" '
            f'y1="{y}" y2="{y}"/><text class="note" x="{_WIDTH - _RIGHT}" '
            f'y="{beside:.1f}" text-anchor="end">{escape(words)}</text>'
        )
    for number, (_, name, points) in enumerate(curves):
        path = " ".join(place(*point) for point in points)
        parts.append(f'<polyline class="curve c{number % 8}" points="{path}"/>')
        end = place(*points[-1]).split(",")
        said = escape(in_words(name, points[-1][1]))
        parts.append(
            f'<circle class="dot c{number % 8}" cx="{end[0]}" cy="{end[1]}" '
            f'r="3"><title>{said}</title></circle>'
        )
    label = escape(_told(chart, curves))
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg>'
    )


def _axes(first, last, low, high, name):
    """Frame and the numbers at its ends."""
    bottom = _HEIGHT - _BOTTOM
    numbers = (
        (_LEFT - 6, _TOP + 8, "end", in_words(name, high)),
        (_LEFT - 6, bottom, "end", in_words(name, low)),
        (_LEFT, _HEIGHT - 8, "start", f"epoch {first}"),
        (_WIDTH - _RIGHT, _HEIGHT - 8, "end", f"{last}"),
    )
    texts = "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'
        for x, y, anchor, words in numbers
    )
    return (
        f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - _RIGHT}"/>'
        + texts
    )


def _told(chart, curves):
    """A chart in words, for those who cannot see it."""
    said = [
        f"{words}: {in_words(name, points[0][1])} at epoch {points[0][0]}, "
        f"{in_words(name, points[-1][1])} at epoch {points[-1][0]}"
        for words, name, points in curves
    ]
    return f"{chart.title}. {'; '.join(said)}."


def _inner_width():
    return _WIDTH - _LEFT - _RIGHT


def _inner_height():
    return _HEIGHT - _TOP - _BOTTOM
