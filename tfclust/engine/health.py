"""What a run's figures mean, in plain words, with the remedy.

Symptoms and remedies are those that users of the reference repositories met;
each sentence has a test. Figures and symptoms are here; what helps is listed
with the method's knobs (`MethodConfig.remedies`). A method without clusters has
no figures of clusters, and none of their symptoms.

An epoch may have five steps or five thousand. So figures are judged after so
many steps, and over so many, that noise is no symptom.
"""

import math
from typing import NamedTuple

from tfclust.engine.remedies import faster_images, in_a_sentence

FLAT_SHARE = 0.99  # of chance; a network that has learnt nothing has 1
WILD_SHARE = 1.2  # of chance; healthy first epochs have up to 1.05
SOFTEST = 1.0  # temperature; above it, cosines of 1 are hardly predictions
COLLAPSED_SHARE = 0.1  # of the clusters that images can be in, effectively
FILLED_SHARE = 0.7  # of the clusters that images can be in
LARGEST_SHARE = 0.5  # of the images
UNLABELLED_SHARE = 0.3  # of the images
WAITING_SHARE = 0.2  # of a step's time, for images
RESTLESS_NMI = 0.1  # between two epochs; healthy runs have 0.4 and more
RESTLESS_EPOCHS = 5
RISE = 1.1  # loss of these steps over that of as many before
JUDGED_EPOCHS = 3  # at least so many
JUDGED_STEPS = 100  # ... and so many steps, whose mean has little noise
_TOLD_STEPS = 50  # after the run has settled, before its figures are judged


class Measure(NamedTuple):
    """How well an epoch does in one respect: 1 is best."""

    value: float
    bound: float  # a smaller value is bad


def health(history, config, facts):
    """Sentences on the last epoch's figures; none if all is well.

    Args:
      history: list of dicts, the figures of the epochs so far, as in
        `metrics.jsonl`.
      config: the method's config, which has the remedies.
      facts: `RunFacts`.

    Returns:
      list of str.
    """
    found = [
        *told(history, config, facts).values(),
        *config.symptoms(history, facts),
        _waiting(history[-1], facts),
    ]
    return [sentence for sentence in found if sentence]


def told(history, config, facts):
    """The sentences of `health` on `SYMPTOMS`, by the symptom's name."""
    settled = _settled(history, config, facts)
    seen = {
        name: see(history, config, facts)
        for name, see in SYMPTOMS.items()
        if settled or name in _FROM_THE_START
    }
    causes = [name for name in _CAUSES if seen.get(name)]
    sentences = {
        name: config.explain(name, words, history, facts)
        for name, words in seen.items()
        if words and not any(name in _CAUSES[cause] for cause in causes)
    }
    return {name: words for name, words in sentences.items() if words}


def learnt(figures, config, facts):
    """How far the loss is below that of uniform predictions, or None.

    At a high temperature it stays near that, whatever is learnt: at 10, SwAV
    ended with 0.97 on digits, and with an AMI of 0.71.
    """
    share = figures.get("loss_over_log_k")
    if share is None or getattr(config, "temperature", 0.0) > SOFTEST:
        return None
    return Measure(1 - share, 1 - FLAT_SHARE)


def calm(figures, config, facts):
    """1 at chance, less above it: predictions are sure of what is wrong."""
    share = figures.get("loss_over_log_k")
    return None if share is None else Measure(2 - share, 2 - WILD_SHARE)


def spread(figures, config, facts):
    """Effective clusters as a share of those that images can be in, or None.

    By raw score: identical projections leave 1, whatever the codes are.
    """
    effective = figures.get("effective_clusters")
    if effective is None:
        return None
    count = _reachable(figures, config, facts)
    # A person who asks for two may have one kind ten times as often.
    least = min(2.0, 1 + count / 8)
    return Measure(effective / count, max(least / count, COLLAPSED_SHARE))


def filled(figures, config, facts):
    """Clusters with images as a share of those that could have some, or None.

    Clusters that a clustering did not find are not missing.
    """
    empty = figures.get("empty_clusters")
    if empty is None:
        return None
    count = _reachable(figures, config, facts)
    return Measure((_mean(config.num_clusters) - empty) / count, FILLED_SHARE)


def enough(history, facts):
    """Whether these epochs are long enough to be judged together."""
    steps = sum(facts.counted_steps(figures) for figures in history)
    return len(history) >= JUDGED_EPOCHS and steps >= JUDGED_STEPS


def loss_of_steps(history, facts):
    """The mean loss of the last epochs with `JUDGED_STEPS` steps together."""
    return _mean_loss(_latest(history, facts), facts)


def _wild(history, config, facts):
    measure = calm(history[-1], config, facts)
    if _is_good(measure):
        return None
    return (
        f"The loss is {2 - measure.value:.2f} of that of blind guessing: the "
        "network is sure of the wrong clusters, as with steps that are too "
        "large"
    )


def _flat(history, config, facts):
    measure = learnt(history[-1], config, facts)
    if _is_good(measure):
        return None
    return (
        f"Nothing has been learnt so far: the loss is {1 - measure.value:.2f} "
        "of that of blind guessing"
    )


def _collapsed(history, config, facts):
    figures = history[-1]
    if _is_good(spread(figures, config, facts)):
        return None
    return (
        "The images collapse into few clusters, as if there were "
        f"{figures['effective_clusters']:.1f} and not "
        f"{_open_k(figures, config):,.0f}"
    )


def _dominated(history, config, facts):
    share = history[-1].get("largest_cluster_share")
    if share is None:
        return None
    fair = 1 / min(config.num_clusters)
    if share < max(LARGEST_SHARE, 1.5 * fair):
        return None
    return f"One cluster holds {share:.0%} of the images"


def _empty(history, config, facts):
    figures = history[-1]
    if _is_good(filled(figures, config, facts)):
        return None
    count = _open_k(figures, config)
    used = _mean(config.num_clusters) - figures["empty_clusters"]
    return (
        f"{count - used:.0f} of {count:,.0f} clusters are empty: no image is "
        "nearest to them"
    )


def _restless(history, config, facts):
    figures = history[-1]
    nmi = figures.get("nmi_previous")
    if nmi is None or figures["epoch"] < RESTLESS_EPOCHS or nmi >= RESTLESS_NMI:
        return None
    return (
        f"Clusters do not settle: those of two epochs agree by {nmi:.2f} (1 "
        "is the same, 0 is chance), where 0.4 or more is usual"
    )


def _rising(history, config, facts):
    latest = _latest(history, facts)
    earlier = _latest(history[: len(history) - len(latest)], facts)
    if not (latest and earlier):
        return None
    began = earlier[0]["step"] - facts.counted_steps(earlier[0])
    if began < _settles(config, facts):
        return None
    before, now = _mean_loss(earlier, facts), _mean_loss(latest, facts)
    if now <= RISE * before:
        return None
    return f"The loss rose from {before:.3f} to {now:.3f}"


def _unlabelled(history, config, facts):
    """Whether a clustering leaves out many images: noise, small clusters."""
    share = history[-1].get("unlabelled_share") or 0.0
    if share < UNLABELLED_SHARE:
        return None
    return f"{share:.0%} of the images have no label in this epoch"


def _waiting(figures, facts):
    """Whether the processors crop images more slowly than steps use them."""
    wait = figures.get("input_wait_milliseconds") or 0.0
    step = figures.get("step_milliseconds") or 0.0
    if wait <= WAITING_SHARE * (wait + step):
        return None
    return (
        f"A step waits {wait:,.0f} ms for its images and computes for "
        f"{step:,.0f} ms. {in_a_sentence(faster_images(facts))}"
    )


def _is_good(measure):
    return measure is None or measure.value >= measure.bound


def _settled(history, config, facts):
    """Whether so many steps are done that the run should have begun to learn.

    Where it settles late or never, it is judged from its middle on.
    """
    figures = history[-1]
    least = min(_TOLD_STEPS, facts.total_steps // 4)
    long = figures["step"] >= _settles(config, facts) + least
    return long and figures["epoch"] >= JUDGED_EPOCHS


def _settles(config, facts):
    """The step by which the run should have settled."""
    return min(config.settling_steps(facts), facts.total_steps // 2)


def _latest(history, facts):
    """The last epochs with `JUDGED_STEPS` steps together; none if fewer."""
    found: list[dict] = []
    steps = 0
    for figures in reversed(history):
        found.insert(0, figures)
        steps += facts.counted_steps(figures)
        if steps >= JUDGED_STEPS:
            return found
    return []


def _mean_loss(history, facts):
    steps = [facts.counted_steps(figures) for figures in history]
    losses = [f["loss"] * n for f, n in zip(history, steps, strict=True)]
    return sum(losses) / sum(steps)


def _open_k(figures, config):
    """Clusters that images can be in: those found, or all."""
    return figures.get("found_clusters") or _mean(config.num_clusters)


def _reachable(figures, config, facts):
    """Clusters that have an image if the epoch's images fall anywhere.

    As many as there are, unless there are hardly more images than clusters.
    """
    images = facts.counted_images(figures)
    found = figures.get("found_clusters")
    counts = [found] if found else config.num_clusters
    return _mean([k * -math.expm1(-images / k) for k in counts])


def _mean(numbers):
    return sum(numbers) / len(numbers)


# Each gives what it sees in the figures, or None; in the order of sentences.
SYMPTOMS = {
    "wild": _wild,
    "collapsed": _collapsed,
    "flat": _flat,
    "dominated": _dominated,
    "empty": _empty,
    "restless": _restless,
    "rising": _rising,
    "unlabelled": _unlabelled,
}
_FROM_THE_START = ("rising", "unlabelled")
# What follows from a symptom has the same remedy, and is not told beside it.
_CAUSES = {
    "wild": (
        "collapsed",
        "flat",
        "dominated",
        "empty",
        "restless",
        "rising",
    ),
    "collapsed": ("flat", "dominated", "empty", "restless"),
    "flat": ("restless", "rising"),
}
