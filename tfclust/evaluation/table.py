"""The figures of several backbones side by side, as text."""


def format_table(results):
    """A table with a column a backbone and a line a figure.

    Args:
      results: what `evaluate` returns.

    Returns:
      str, without a newline at the end. Accuracies in percent; the others as
      they are, 1 being perfect.
    """
    lines = [["", *results]]
    for title, protocol, figure, percent in _rows(results):
        values = [of.get(protocol, {}).get(figure) for of in results.values()]
        lines.append([title, *(_text(value, percent) for value in values)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = [_aligned(line, widths) for line in lines]
    rule = "-" * len(rows[0])
    return "\n".join([rows[0], rule, *rows[1:]])


def _rows(results):
    """(title, protocol, figure, whether in percent) of each line."""
    first: dict = next(iter(results.values()), {})
    rows = []
    if "knn" in first:
        neighbors = first["knn"]["num_neighbors"]
        rows.append((f"weighted {neighbors}-NN, top-1 %", "knn", "top1", True))
    if "linear" in first:
        kind = {"lbfgs": "L-BFGS", "sgd": "SGD"}[first["linear"]["protocol"]]
        title = f"linear probe ({kind}), top-1 %"
        rows.append((title, "linear", "top1", True))
    if "clusters" in first:
        means = f"{first['clusters']['num_clusters']}-means"
        rows += [
            (f"{means}, NMI (geometric)", "clusters", "nmi", False),
            (f"{means}, NMI (arithmetic)", "clusters", "nmi_arithmetic", False),
            (f"{means}, AMI", "clusters", "ami", False),
            (f"{means}, ARI", "clusters", "ari", False),
            (f"{means}, Hungarian accuracy %", "clusters", "accuracy", True),
        ]
    return rows


def _text(value, percent):
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if percent else f"{value:.3f}"


def _aligned(line, widths):
    """The first column to the left, numbers to the right."""
    first, *others = (
        text.ljust(width) if column == 0 else text.rjust(width)
        for column, (text, width) in enumerate(zip(line, widths, strict=True))
    )
    return "  ".join([first, *others])
