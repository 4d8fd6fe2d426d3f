"""Every figure that an epoch of a run may have, in the order of the files.

One that stands in no line here ends the run with an error that names it, so
that none vanishes unseen: a new one, of the monitor, of a method or of a
callback, is a line here.
"""

from typing import NamedTuple


class Figure(NamedTuple):
    """What is known of a figure, whatever its value."""

    title: str  # as a heading
    format: str = ".3f"  # format spec of a value for people
    better: str = ""  # "lower", "higher", or empty where neither is
    count: bool = False  # whole numbers that say which epoch it is
    always: bool = False  # a number in every epoch of every method
    some: bool = False  # of some methods alone
    timed: bool = False  # differs where every bit of two runs is the same
    said: str = ""  # in the line of an epoch, {} for the value; empty for not
    swept: bool = False  # whether the table of a sweep shows it


FIGURES = {
    "epoch": Figure("epoch", "d", count=True, always=True),
    "step": Figure("step", "d", count=True, always=True),
    "loss": Figure("loss", better="lower", always=True),
    "loss_over_log_k": Figure("loss / ln K", ".2f", better="lower", swept=True),
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
        said="{} changed cluster",
    ),
    "nmi_previous": Figure("NMI to last epoch", ".2f", better="higher"),
    "learning_rate": Figure("learning rate", ".4g"),
    "images_per_second": Figure(
        "images/s", ",.0f", better="higher", timed=True, said="{} images/s"
    ),
    "step_milliseconds": Figure(
        "ms a step", ",.0f", better="lower", timed=True
    ),
    "input_wait_milliseconds": Figure(
        "ms waiting for images", ",.0f", better="lower", timed=True
    ),
    "reassign_seconds": Figure(
        "s of reassignment", ",.1f", better="lower", timed=True
    ),
    "knn_accuracy": Figure(
        "kNN accuracy", ".1%", better="higher", said="kNN {}"
    ),
    "nmi_labels": Figure(
        "NMI to labels", ".2f", better="higher", said="NMI to labels {}"
    ),
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
        "clusters' mass off", ".1%", better="lower", some=True
    ),
    "label_passes": Figure("passes of a label step", ",.0f", some=True),
}


def names(field):
    """The figures that have a field of `Figure` set, such as "timed"."""
    return tuple(n for n, of in FIGURES.items() if getattr(of, field))


def in_words(name, value):
    """A figure's value for people."""
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
