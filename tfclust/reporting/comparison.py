"""Writes a page with the figures of several networks, as table and plot."""

import pathlib
from typing import NamedTuple

from markupsafe import Markup, escape

from tfclust.evaluation import comparison
from tfclust.evaluation.table import in_words
from tfclust.runtime import folders, pages

TEMPLATE = pathlib.Path(__file__).with_name("comparison.html")
_WIDTH, _LEFT, _RIGHT, _TOP, _LINE = 480, 150, 16, 22, 22
_LONGEST = 22  # letters of a network's name beside the plot


class Plot(NamedTuple):
    """A figure's plot."""

    title: str
    svg: Markup


def write(results, output):
    """Writes the page.

    Args:
      results: what `comparing.compare` returned.
      output: `pathlib.Path` of the page; its folder must exist.

    Returns:
      `output`.
    """
    figures = comparison.compared(results)
    networks = list(results)
    with folders.writing(str(output), "Make room, or give another output."):
        pages.write(
            output,
            TEMPLATE,
            title=f"{len(networks)} networks side by side",
            networks=networks,
            plots=[Plot(of.title, plot(of, networks)) for of in figures],
            rows=[
                (
                    of.title,
                    [
                        comparison.told(of.values.get(network), of.percent)
                        for network in networks
                    ],
                    in_words(of.chance, of.percent),
                )
                for of in figures
            ],
        )
    return output


def plot(figure, networks):
    """A dot with its interval for each network, and a line at chance.

    Args:
      figure: `comparison.Compared`.
      networks: names, from above.

    Returns:
      `Markup` of an SVG.
    """
    shown = [name for name in networks if name in figure.values]
    low, high = _bounds(figure)
    bottom = _TOP + _LINE * len(shown)

    def x_of(value):
        share = (value - low) / (high - low)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    parts = [
        f'<path class="axis" d="M{_LEFT} {_TOP - 8}V{bottom}'
        f'H{_WIDTH - _RIGHT}"/>',
        *_ends(figure, low, high, bottom),
    ]
    if figure.chance is not None:
        x = f"{x_of(figure.chance):.1f}"
        parts.append(
            f'<line class="level" x1="{x}" x2="{x}" y1="{_TOP - 8}" '
            f'y2="{bottom}"/><text class="note" x="{x}" y="{_TOP - 10}" '
            'text-anchor="middle">chance</text>'
        )
    for number, name in enumerate(shown):
        y = _TOP + _LINE * number + _LINE // 2
        parts.append(_dot(number, name, figure, x_of, y))
    label = escape(_told(figure, shown))
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {bottom + 22}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg>'
    )


def _dot(number, name, figure, x_of, y):
    value, interval = figure.values[name]
    short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    colour = f"c{number % 8}"
    whisker = ""
    if interval is not None:
        left, right = (f"{x_of(limit):.1f}" for limit in interval)
        whisker = (
            f'<line class="curve {colour}" x1="{left}" x2="{right}" '
            f'y1="{y}" y2="{y}"/>'
        )
    said = escape(comparison.told(figure.values[name], figure.percent))
    return (
        f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">'
        f"{escape(short)}</text>{whisker}"
        f'<circle class="dot {colour}" cx="{x_of(value):.1f}" cy="{y}" r="4">'
        f"<title>{escape(name)}: {said}</title></circle>"
    )


def _bounds(figure):
    """The axis: from 0, or what is lower, to the largest value."""
    found = [0.0, figure.chance or 0.0]
    for value, interval in figure.values.values():
        found += [value, *(interval or ())]
    low, high = min(found), max(found)
    return (low, high) if high > low else (low, low + 1)


def _ends(figure, low, high, bottom):
    for value, anchor, x in (
        (low, "start", _LEFT),
        (high, "end", _WIDTH - _RIGHT),
    ):
        yield (
            f'<text x="{x}" y="{bottom + 16}" text-anchor="{anchor}">'
            f"{in_words(value, figure.percent)}</text>"
        )


def _told(figure, shown):
    """A plot in words, for those who cannot see it."""
    said = "; ".join(
        f"{name}: {comparison.told(figure.values[name], figure.percent)}"
        for name in shown
    )
    chance = in_words(figure.chance, figure.percent)
    return f"{figure.title}. {said}. Chance: {chance}."
