"""Several networks' figures with their intervals: Markdown and CSV."""

import csv
import io
from typing import NamedTuple

from tfclust.evaluation.table import in_words, rows


class Value(NamedTuple):
    """A figure of a network, and its 95 % interval or None."""

    value: float
    interval: tuple | None


class Compared(NamedTuple):
    """A figure of several networks.

    values: `{network: Value}` of those that have it. chance: what says nothing,
    or None. short: str, its heading; empty if it is only in the long table.
    """

    protocol: str
    title: str
    short: str
    percent: bool
    values: dict
    chance: float | None


def compared(results):
    """The `Compared` figures of what `evaluate` returned, in a table's order.

    Chance levels that depend on a network's clusters are those of the first
    network that has the figure.
    """
    found = []
    for protocol, column, chance in rows(results):
        values = {}
        for network, of in results.items():
            figures = of.get(protocol, {})
            value = figures.get(column.figure)
            if value is not None:
                interval = figures.get(f"{column.figure}_interval")
                values[network] = Value(value, interval and tuple(interval))
        if values:
            found.append(
                Compared(
                    protocol,
                    column.title,
                    column.short,
                    column.percent,
                    values,
                    chance,
                )
            )
    return found


def markdown(results):
    """A line a network, a column a figure, as the papers' tables have it.

    With 95 % intervals over the test images where they are known; the last
    line is chance.
    """
    figures = [of for of in compared(results) if of.short]
    lines = [
        ["", *(f"{of.short}{' %' if of.percent else ''}" for of in figures)],
        ["---"] * (1 + len(figures)),
    ]
    for network in results:
        cells = [told(of.values.get(network), of.percent) for of in figures]
        lines.append([_escaped(network), *cells])
    chances = [in_words(of.chance, of.percent) for of in figures]
    lines.append(["chance", *chances])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def csv_text(results):
    """All figures as CSV, a line a network and figure; shares from 0 to 1."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["network", "protocol", "figure", "value", "low", "high", "chance"]
    )
    for of in compared(results):
        title = of.title.removesuffix(" %")
        for network, (value, interval) in of.values.items():
            limits = interval or ("", "")
            chance = "" if of.chance is None else of.chance
            writer.writerow(
                [network, of.protocol, title, value, *limits, chance]
            )
    return file.getvalue()


def told(value, percent):
    """A `Value` as text with its interval; a dash for None."""
    if value is None:
        return "-"
    words = in_words(value.value, percent)
    if value.interval is None:
        return words
    low, high = (in_words(limit, percent) for limit in value.interval)
    return f"{words} ({low} to {high})"


def _escaped(name):
    return name.replace("|", r"\|")
