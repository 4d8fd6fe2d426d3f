"""Progress, on a line of the terminal that is redrawn in place.

Drawn by tqdm, which fits the terminal's width and shows the time left.
"""

import sys
import threading

from tqdm import tqdm

_SHOWN_AFTER = 1.0  # seconds; anything faster shows no line
_REDRAWN_EVERY = 0.2  # seconds
BAR = "{desc} [{bar:30}] {n:,} of {total:,}, {remaining} left"


class _Line(tqdm):
    monitor_interval = 0  # no thread that redraws idle lines
    _lock = threading.RLock()  # tqdm's own is for several processes


def is_terminal(stream):
    """Whether a stream is a terminal; some streams of notebooks cannot say."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())


def line(words, total, done=0, *, form=BAR, after=None):
    """A line on standard error, erased when its context ends.

    Args:
      words: str that a terminal shows as it is, see `terminal.one_line`.
      total: int, what there is to do. done: int, what is done already.
      form: str, a `bar_format` of tqdm.
      after: float, seconds before it is shown; None for one.

    Returns:
      `tqdm.tqdm`; call `update(more)`. Silent if standard error is not a
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
