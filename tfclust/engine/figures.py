"""Every figure that an epoch of a run may have, in the order of the files.

A figure that has no line here ends the run with an error that names it, so that
none vanishes unseen. So a new figure, of the monitor, of a method or of a
callback, needs a line here.
"""

import math
from typing import NamedTuple


class Figure(NamedTuple):
    """What is known about a figure, whatever its value."""

    title: str  # as a heading
    format: str = ".3f"  # format spec for showing a value
    better: str = ""  # "lower", "higher", or empty where neither is
    whole: bool = False  # a whole number that says which epoch it is
    always: bool = False  # every method has it in every epoch
    some: bool = False  # only some methods have it
    timed: bool = False  # differs even between runs that agree bit for bit
    # Words in an epoch's line, {} for the value, {name} for others' values;
    # or empty.
    said: str = ""
    swept: bool = False  # whether the table of a sweep shows it


FIGURES = {
    "epoch": Figure("epoch", "d", whole=True, always=True),
    "step": Figure("step", "d", whole=True, always=True),
    "loss": Figure("loss", better="lower", always=True),
    "loss_over_log_k": Figure(
        "loss / chance", ".2f", better="lower", swept=True
    ),
    "effective_clusters": Figure(
        "effective clusters", ",.1f", better="higher", swept=True
    ),
    "empty_clusters": Figure("empty clusters", ",.0f", better="lower"),
    "largest_cluster_share": Figure(
        "largest cluster's share", ".0%", better="lower"
    ),
    "changed_share": Figure(
        "share that changed cluster",
        ".0%",
        better="lower",
        said="{} of images changed cluster",
    ),
    "nmi_previous": Figure("NMI to the last epoch", ".2f", better="higher"),
    "epsilon": Figure("epsilon of the codes", ".4f", some=True),
    "learning_rate": Figure("learning rate", ".4g"),
    "images_per_second": Figure(
        "images/s", ",.0f", better="higher", timed=True, said="{} images/s"
    ),
    "step_milliseconds": Figure(
        "ms per step", ",.0f", better="lower", timed=True
    ),
    "input_wait_milliseconds": Figure(
        "ms waiting for images", ",.0f", better="lower", timed=True
    ),
    "reassign_seconds": Figure(
        "s for reassignment", ",.1f", better="lower", timed=True
    ),
    "knn_accuracy": Figure(
        "kNN accuracy",
        ".1%",
        better="higher",
        said="kNN {} (chance {knn_chance})",
    ),
    "knn_chance": Figure("largest class's share of kNN's images", ".0%"),
    "ami_labels": Figure(
        "AMI to labels",
        ".2f",
        better="higher",
        said="clusters match labels by {} (AMI; chance 0)",
    ),
    "nmi_labels": Figure("NMI to labels", ".2f", better="higher"),
    "ari_labels": Figure("ARI to labels", ".2f", better="higher"),
    "pseudo_label_nmi": Figure(
        "pseudo-labels' NMI to labels", ".2f", better="higher", some=True
    ),
    "found_clusters": Figure("clusters found", ",.0f", some=True),
    "unlabelled_share": Figure(
        "share without a label", ".0%", better="lower", some=True
    ),
    "smallest_label_cluster": Figure(
        "smallest cluster", ",.0f", some=True, swept=True
    ),
    "largest_label_cluster": Figure(
        "largest cluster", ",.0f", some=True, swept=True
    ),
    "label_mass_error": Figure(
        "largest error of a cluster's mass", ".1%", better="lower", some=True
    ),
    "label_passes": Figure("passes per label step", ",.0f", some=True),
}


def names(field):
    """The figures whose field of `Figure` is set, such as "timed"."""
    return tuple(n for n, of in FIGURES.items() if getattr(of, field))


def in_words(name, value):
    """A figure's value as it is shown."""
    return format(value, FIGURES[name].format)


def refuse_unknown(found):
    """Raises LookupError where a figure has no line in `FIGURES`.

    Args:
      found: names of figures.
    """
    unknown = sorted(set(found) - set(FIGURES))
    if unknown:
        raise LookupError(
            "every figure of an epoch needs a line in FIGURES of "
            f"tfclust/engine/figures.py. Received: {', '.join(unknown)}. Add "
            "it there, or keep it out of the epoch's logs."
        )


def epoch_figures(logs):
    """An epoch's figures as in `metrics.jsonl`: ordered, with JSON types.

    Raises:
      LookupError: if one is not in `FIGURES`.
    """
    refuse_unknown(logs)
    return {
        name: _plain(logs[name], figure.whole)
        for name, figure in FIGURES.items()
        if name in logs or figure.always
    }


def _plain(value, whole):
    if whole:
        return int(value)
    return float(value) if value is not None and math.isfinite(value) else None
