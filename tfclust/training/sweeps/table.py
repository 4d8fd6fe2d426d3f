"""The figures of a sweep's runs, side by side."""

import json

from tfclust.engine.figures import FIGURES, names
from tfclust.engine.figures import in_words as told_in_words
from tfclust.evaluation.protocols.table import PROTOCOLS
from tfclust.evaluation.table import in_words
from tfclust.runs import folder


def figures(variant):
    """What is known about a variant: texts by heading; None if unmeasured."""
    path = variant.workdir / folder.EVALUATION
    if not path.exists():
        return None
    from tfclust.runs import metrics  # imports TensorFlow

    measured = read_json(path, "the run is measured again")
    measured = measured.get("trained", {})
    told = (metrics.read_metrics(variant.workdir) or [{}])[-1]
    row = {}
    for name, protocol in PROTOCOLS.items():
        # Somebody may have measured it again with only some protocols.
        of = measured.get(name)
        for column in protocol.columns(of) if of else ():
            value = of.get(column.figure)
            if column.short and value is not None:
                row[column.short] = in_words(value, column.percent)
    for name in names("swept"):
        if told.get(name) is not None:
            row[FIGURES[name].title] = told_in_words(name, told[name])
    return row


def format_table(runs):
    """Markdown: a line per variant, a column per knob and per figure."""
    rows = [figures(run) or {} for run in runs]
    headings = _in_order(rows)
    lines = [[*runs[0].values, *headings]]
    lines.append(["---"] * len(lines[0]))
    for run, row in zip(runs, rows, strict=True):
        values = [value or "–" for value in run.values.values()]
        lines.append([*values, *(row.get(h, "–") for h in headings)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def read_json(path, without_it):
    """The object that a file of the sweep holds."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(
            f"{path} must hold a JSON object. Received: something else. Remove "
            f"it: then {without_it}."
        )
    return found


def _in_order(rows):
    """The headings of all rows, some of which each row may lack.

    Every row has its headings in the same order, that of protocols and figures;
    so each new one goes before the next known one.
    """
    headings: list[str] = []
    for row in rows:
        place = 0
        for heading in row:
            if heading not in headings:
                headings.insert(place, heading)
            place = headings.index(heading) + 1
    return headings
