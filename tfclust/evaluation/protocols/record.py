"""What an evaluation must know about a protocol; kept beside its code.

A protocol is one file here, which ends with its `PROTOCOL`, and a line in
`table.py`. Commands read the knobs before TensorFlow is imported, which takes
seconds; so these files import it only inside functions.
"""

from collections.abc import Callable
from typing import NamedTuple


class Column(NamedTuple):
    """A figure of a protocol as tables show it."""

    title: str
    figure: str  # its name in what `run` returns
    percent: bool = False
    short: str = ""  # heading in a sweep's table; empty to leave it out there
    said: bool = True  # whether it is in the line that reports the protocol
    chance: str | float | None = None  # what says nothing: a figure, or a value


class Protocol(NamedTuple):
    """A protocol of evaluation.

    Attributes:
      run: function of a `Subject` and the `EvaluationConfig`, which has the
        knobs of `Config` among its own; returns a dict of figures for JSON.
      Config: frozen dataclass of its knobs. They become flags of one command,
        so their names must differ from those of other protocols' knobs.
      learns: whether it learns from training images, or judges them.
      columns: function of what `run` returned -> its `Column`s, the most
        important first.
      words: what it measures, for `--help`.
      answers: whether it tells the classes of test images by those of training
        images, which must then have them all.
      check: function of the `EvaluationConfig`, the training `data.Source` and
        the one to measure on that raises ValueError if they do not fit
        together; None if nothing can be wrong with them. Called before any
        forward pass.
      check_test: as check, of the `data.Source` to measure on alone, which is
        opened first.
      labels: whether it needs labels.
      judges: whether it compares with labels of any kind, or classes.
      label_sets: whether these may be several an image.
      default_for: the kinds of images on which it is measured where no
        protocols are named: "labels", "label sets", "masks", "no labels"; none
        for those that take long, or need what most runs lack.
      check_network: function of the `EvaluationConfig`, the first `Network` and
        the training `data.Source` that raises ValueError if the network lacks
        what the protocol looks at; None if features will do.
      verdict: function of `{backbone: figures}` -> a sentence on "trained", or
        None where the figures speak for themselves.
    """

    run: Callable
    Config: type
    learns: bool
    columns: Callable
    words: str
    answers: bool = True
    check: Callable | None = None
    labels: bool = True
    judges: bool = True
    label_sets: bool = False
    default_for: tuple[str, ...] = ("labels",)
    check_network: Callable | None = None
    check_test: Callable | None = None
    verdict: Callable | None = None
