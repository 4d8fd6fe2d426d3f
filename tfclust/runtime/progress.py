"""How far something is, on a line that is drawn over itself on a terminal.

Drawn by tqdm, which keeps to the terminal's width and tells the time left.
"""

import sys
import threading

from tqdm import tqdm

_SHOWN_AFTER = 1.0  # seconds; what is done by then shows no line
_REDRAWN_EVERY = 0.2  # seconds
BAR = "{desc} [{bar:30}] {n:,} of {total:,}, {remaining} left"


class _Line(tqdm):
    monitor_interval = 0  # no thread that redraws what stands still
    _lock = threading.RLock()  # tqdm's own is one of processes


def is_terminal(stream):
    """Whether somebody watches a stream; some of notebooks cannot say."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())


def line(words, total, done=0, *, form=BAR, after=None):
    """A line on standard error, wiped when its context ends.

    Args:
      words: str that a terminal shows as it is, see `terminal.one_line`.
      total: int, what will be done. done: int, known from before.
      form: str, a `bar_format` of tqdm.
      after: float, seconds before which it is not shown; None for one.

    Returns:
      `tqdm.tqdm`; `update(more)` tells it. Silent where standard error is no
      terminal.
    """
    return _Line(
        desc=words,
        total=total,
        initial=done,
        bar_format=form,
        ascii=" #",
        delay=_SHOWN_AFTER if after is None else after,
        mininterval=_REDRAWN_EVERY,
        leave=False,
        file=sys.stderr,
        disable=not is_terminal(sys.stderr),
        dynamic_ncols=True,
    )
