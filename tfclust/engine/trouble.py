"""Whether a run is in trouble that lasts, so that it had better end.

A bad epoch is no trouble. Warm-up, frozen prototypes and the first epochs are
never judged; after them the figures must be bad in all epochs of a fifth of the
run, and must not get better. So a run that learns slowly goes on.
"""

from typing import NamedTuple

from tfclust.engine import health

HALF_EMPTY = 0.5  # clusters with images, as a share of those that could have
LEAST_STEPS = 100  # of trouble, however short the run
MOST_STEPS = 2000  # ... and however long
_BETTER = 0.1  # of the bound: so much more in its later half ends a spell


class Trouble(NamedTuple):
    """A symptom that has lasted."""

    symptom: str
    seen: str  # what the last figures show; without a full stop
    since: int  # the step before the first of these epochs


def lasting(history, config, facts):
    """The `Trouble` that the last epochs all show, or None.

    Args:
      history: list of dicts, the figures of the epochs so far, as in
        `metrics.jsonl`.
      config: the method's config, which says what is watched.
      facts: `RunFacts`.
    """
    for symptom, first in config.watched(facts).items():
        spell = _spell(symptom, history, first, config, facts)
        if spell and not _gets_better(symptom, spell, config, facts):
            seen = health.SYMPTOMS[symptom](history, config, facts)
            if seen:
                return Trouble(symptom, seen, _begin(spell[0], facts))
    return None


def spell_steps(facts):
    """Steps for which trouble must last, in `health.JUDGED_EPOCHS` or more."""
    return min(max(LEAST_STEPS, facts.total_steps // 5), MOST_STEPS)


def in_words(config, facts):
    """What is watched, as a sentence for a run's first lines."""
    least = max(
        spell_steps(facts), health.JUDGED_EPOCHS * facts.steps_per_epoch
    )
    watched = config.watched(facts)
    if not watched:
        return (
            "Nothing is watched: this method has no figures that tell such a "
            "run from a good one, so it ends by itself."
        )
    firsts = {
        name: first
        for name, first in watched.items()
        if first + least < facts.total_steps
    }
    if not firsts:
        return (
            f"Nothing is watched: the run of {facts.total_steps:,} steps ends "
            "before it can be judged."
        )
    told = []
    for first in sorted(set(firsts.values())):
        names = [_WORDS[name] for name in firsts if firsts[name] == first]
        told.append(f"{', '.join(names)} (from step {first:,} on)")
    return f"Ends where one of these lasts for {least:,} steps: " + (
        "; ".join(told) + "."
    )


_WORDS = {
    "wild": "a loss far above blind guessing",
    "collapsed": "images in few clusters",
    "flat": "a loss of blind guessing",
    "empty": "half of the clusters without images",
}


def _spell(symptom, history, first, config, facts):
    """The last epochs that are bad, as few as last long enough, or none."""
    found: list[dict] = []
    for figures in reversed(history):
        bad = _is_bad(symptom, figures, config, facts)
        if not bad or _begin(figures, facts) < first:
            return []
        found.insert(0, figures)
        steps = history[-1]["step"] - _begin(figures, facts)
        if len(found) >= health.JUDGED_EPOCHS and steps >= spell_steps(facts):
            return found
    return []


def _is_bad(symptom, figures, config, facts):
    measure = _MEASURES[symptom](figures, config, facts)
    return measure is not None and measure.value < measure.bound


def _gets_better(symptom, spell, config, facts):
    """Whether the spell's later half is clearly better than its first.

    Clusters may stay empty for long in a run that learns: of 126 of SeLa's, 85
    after the third epoch on blood cells and 78 after the ninth.
    """
    measure = _MEASURES[symptom]
    bound = measure(spell[-1], config, facts).bound
    learns = (
        symptom == "empty"
        and health.learnt(spell[-1], config, facts) is not None
        and _gain(health.learnt, spell, config, facts) > 1 - health.FLAT_SHARE
    )
    return learns or _gain(measure, spell, config, facts) > _BETTER * bound


def _gain(measure, spell, config, facts):
    """By how much a measure's mean is larger in the spell's later half."""
    values = [measure(figures, config, facts).value for figures in spell]
    half = len(values) // 2
    return _mean(values[-half:]) - _mean(values[:half])


def _begin(figures, facts):
    """The steps done before an epoch."""
    return figures["step"] - facts.counted_steps(figures)


def _half_empty(figures, config, facts):
    measure = health.filled(figures, config, facts)
    return measure and measure._replace(bound=HALF_EMPTY)


def _mean(values):
    return sum(values) / len(values)


_MEASURES = {
    "wild": health.calm,
    "collapsed": health.spread,
    "flat": health.learnt,
    "empty": _half_empty,
}
