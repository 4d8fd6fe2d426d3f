"""What an evaluation must know of a protocol; each stands beside its code.

A protocol is one file here, which ends with its `PROTOCOL`, and a line in
`table.py`. Commands read the knobs before TensorFlow is imported, which takes
seconds; so these files import it within functions alone.
"""

from collections.abc import Callable
from typing import NamedTuple


class Column(NamedTuple):
    """A figure of a protocol as tables show it."""

    title: str
    figure: str  # its name in what `run` returns
    percent: bool = False
    short: str = ""  # heading in the table of a sweep; empty for none there
    said: bool = True  # whether the line that says a protocol is done has it


class Protocol(NamedTuple):
    """A protocol of evaluation.

    Attributes:
      run: function of a `Subject` and the `EvaluationConfig`, which has the
        knobs of `Config` among its own; gives a dict of figures for JSON.
      Config: frozen dataclass of its knobs. They become flags of one command,
        so that their names must tell them from other protocols' knobs.
      learns: whether it learns from training images.
      columns: function of what `run` gave -> its `Column`s, most telling first.
      words: what it measures, for `--help`.
      check: function of the `EvaluationConfig` and the training `data.Source`
        that raises ValueError where they do not fit; None if nothing can be
        wrong with them. Called before any forward pass.
    """

    run: Callable
    Config: type
    learns: bool
    columns: Callable
    words: str
    check: Callable | None = None
