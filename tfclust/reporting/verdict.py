"""What a run's figures say of it, in a sentence."""

from typing import NamedTuple

from tfclust.engine.health import health, told
from tfclust.engine.remedies import Remedy, in_a_sentence
from tfclust.runs.facts import facts as facts_of

# Runs that learnt had 15 and more, images of one grey each 4, and runs that
# diverged 0 to 2.
FEWEST_DIRECTIONS = 3.0

# In a word, by symptom; a cause comes before what may follow from it.
_STATES = {
    "wild": "diverging",
    "collapsed": "collapsing",
    "narrow": "collapsing",
    "flat": "stuck",
    "dominated": "collapsing",
    "restless": "stuck",
}

_LONGER = (
    "So few steps are too few to learn from: train longer (--epochs, or "
    "--minutes with a plan), on more images if there are some."
)


class Verdict(NamedTuple):
    """kind: "healthy", "troubled" or "young"; for the page's colour."""

    kind: str
    sentence: str
    more: list  # of sentences: what is wrong, and what to do
    unsaid: list = []  # those of them that no epoch's line has told


def judge(recipe, views, history, directions=None):
    """The `Verdict` on a run.

    Args:
      recipe: its `Recipe`.
      views: its `RememberedViews`.
      history: its epochs' figures.
      directions: float, the effective rank of its features; None if unknown.
    """
    if not history:
        return Verdict("young", "No epoch is finished yet.", [])
    last, facts = history[-1], facts_of(recipe, views)
    done = last["step"] / facts.total_steps
    narrow = _narrow(directions, recipe.method, facts, last)
    found = [*health(history, recipe.method, facts), *narrow]
    of = f"after {last['step']:,} of {facts.total_steps:,} steps"
    if found:
        seen = {*told(history, recipe.method, facts)}
        words = _trouble(seen | {"narrow"} if narrow else seen)
        return Verdict("troubled", f"{words} {of}.", found, narrow)
    share = last.get("loss_over_log_k")
    if share is not None and share > 0.99:
        if done < 1:
            words = f"Too early to tell {of}: nothing has been learnt yet."
            return Verdict("young", words, [])
        words = f"The run is finished, and nothing has been learnt {of}."
        return Verdict("troubled", words, [_LONGER], [_LONGER])
    state = "finished and healthy" if done >= 1 else f"healthy {of}"
    return Verdict("healthy", f"The run is {state}.", list(_learnt(last)))


def _trouble(seen):
    """What is wrong, in a few words, with these symptoms."""
    for symptom, state in _STATES.items():
        if symptom in seen:
            return f"The run is {state}"
    return "Something is wrong"


def _narrow(directions, config, facts, last):
    """Whether features are nearly the same for all images."""
    if directions is None or directions >= FEWEST_DIRECTIONS:
        return []
    ways = config.remedies(facts, last).get("collapsed", ())
    ways = (*ways, Remedy("look for images that are alike"))
    return [
        f"The features differ in about {directions:.1f} directions only, so "
        "that the network tells hardly anything apart. "
        f"{in_a_sentence(ways)}"
    ]


def _learnt(last):
    """Sentences on what an epoch's figures mean."""
    share = last.get("loss_over_log_k")
    if share is not None:
        yield (
            f"Its loss is {share:.2f} of that of blind guessing: views of one "
            "image are told to belong together."
        )
    if last.get("effective_clusters") is not None:
        yield (
            "Images spread over as many clusters as "
            f"{last['effective_clusters']:,.0f} of equal size."
        )
    if last.get("knn_accuracy") is not None:
        yield (
            f"The most similar images have an image's own label in "
            f"{last['knn_accuracy']:.0%} of cases; always naming the largest "
            f"class would be right in {last['knn_chance']:.0%}."
        )
    elif last.get("ami_labels") is not None:
        yield (
            f"Clusters agree with the labels by {last['ami_labels']:.2f} (AMI: "
            "0 is chance, 1 the same groups)."
        )
