"""Timing of functions in turn, so that a busy machine is busy for all."""

import statistics
import time


def time_pairs(functions, *, repeats, warm_up=1, clock=time.perf_counter):
    """Seconds of each function, called one after the other in every round.

    Args:
      functions: `{name: function without arguments}`; each must end when its
        work is done, so fetch a result (`.numpy()`).
      repeats: int, rounds that count.
      warm_up: int, rounds before them, for tracing and compilation.
      clock: function that tells the seconds.

    Returns:
      `{name: [seconds]}`, a value a round.
    """
    seconds = {name: [] for name in functions}
    for turn in range(warm_up + repeats):
        for name, function in functions.items():
            start = clock()
            function()
            if turn >= warm_up:
                seconds[name].append(clock() - start)
    return seconds


def median_ratio(seconds, name, reference):
    """Median over rounds of `name`'s time by `reference`'s of that round."""
    pairs = zip(seconds[name], seconds[reference], strict=True)
    return statistics.median(own / other for own, other in pairs)


def print_table(title, seconds, *, reference=None, notes=None):
    """Prints median, best and worst milliseconds, and the ratio by round.

    Args:
      title: line above the table.
      seconds: what `time_pairs` returned.
      reference: name that ratios refer to; None leaves the column out.
      notes: `{name: text}` for a last column, or None.
    """
    notes = notes or {}
    width = max(map(len, seconds))
    ratio = "" if reference is None else f"{'ratio':>8}"
    print(f"\n{title}")
    print(f"{'':{width}} {'median ms':>10} {'best':>9} {'worst':>9}{ratio}")
    for name, values in seconds.items():
        figures = (statistics.median(values), min(values), max(values))
        line = f"{name:{width}} {figures[0] * 1e3:10.1f}"
        line += "".join(f" {value * 1e3:9.1f}" for value in figures[1:])
        if reference is not None:
            line += f"{median_ratio(seconds, name, reference):8.2f}"
        print(f"{line}  {notes.get(name, '')}".rstrip())
