"""The figures of several backbones side by side, as text."""

from tfclust.evaluation.protocols.table import PROTOCOLS


def format_table(results):
    """A table with a line per figure, a column per backbone, and chance.

    The last column is what says nothing: the largest class's share for
    accuracies; for agreement of clusters, that of random groups as large as
    those of the first backbone.

    Args:
      results: what `evaluate` returns.

    Returns:
      str, without a newline at the end. Accuracies are in percent; for the
      others 1 is perfect.
    """
    lines = [["", *results, "chance"]]
    for protocol, column, chance in rows(results):
        values = [
            of.get(protocol, {}).get(column.figure) for of in results.values()
        ]
        values.append(chance)
        texts = (in_words(value, column.percent) for value in values)
        lines.append([column.title, *texts])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head, *others = (_aligned(line, widths) for line in lines)
    return "\n".join([head, "-" * len(head), *others])


def rows(results):
    """(protocol, `Column`, chance level or None) of each line.

    Args:
      results: what `evaluate` returns. A figure that not all backbones have,
        such as that of a method's own clusters, has a line too; the chance is
        that of the first backbone that has it.
    """
    found = []
    for name, protocol in PROTOCOLS.items():
        columns: dict = {}
        for of in results.values():
            for column in protocol.columns(of[name]) if of.get(name) else ():
                columns.setdefault(column.figure, (column, of[name]))
        found += [
            (name, column, _chance(column, figures))
            for column, figures in columns.values()
        ]
    return found


def in_words(value, percent):
    """A figure as text, a dash for None."""
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if percent else f"{value:.3f}"


def _chance(column, figures):
    """A column's chance level, or None."""
    if isinstance(column.chance, str):
        return figures.get(column.chance)
    return column.chance


def _aligned(line, widths):
    """The first column aligned to the left, numbers to the right."""
    first, *others = (
        text.ljust(width) if column == 0 else text.rjust(width)
        for column, (text, width) in enumerate(zip(line, widths, strict=True))
    )
    return "  ".join([first, *others])
