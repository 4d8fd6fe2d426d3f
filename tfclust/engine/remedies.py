"""What helps a run in trouble: a change in words, and as a flag to give.

A method's config lists its remedies by symptom. Each is one that the run's
settings leave open: a change that is in place already is not in the list.
"""

from typing import NamedTuple

from tfclust import options

LEAST_EPSILON = 0.01  # codes below it are as good as hard
SOFT_JITTER = 0.5  # usual for small images
COARSE_CROPS = 2.0  # crops shrunk by less are cut without antialiasing
IMAGES_A_CLUSTER = 39  # what faiss asks of k-means


class Remedy(NamedTuple):
    """One change that may help."""

    words: str  # as after "you may"
    knob: str = ""  # to change; or empty
    value: str | None = None  # its new value as a flag; None for "see yourself"

    def __str__(self):
        if not self.knob:
            return self.words
        value = "" if self.value is None else f"={self.value}"
        return f"{self.words} (--{self.knob}{value})"


def in_a_sentence(remedies):
    """Remedies as one sentence, the most likely first."""
    told = [str(remedy) for remedy in remedies]
    told[0] = told[0][0].upper() + told[0][1:]
    last = told.pop()
    return (f"{', '.join(told)}; or {last}" if told else last) + "."


def with_remedies(remedies, *, first=False, **own):
    """`remedies` with more for each symptom named.

    Args:
      remedies: dict as returned by `MethodConfig.remedies`.
      first: whether the new ones come before the others, not after them.
      **own: tuples of `Remedy` by symptom.
    """
    both = dict(remedies)
    for symptom, new in own.items():
        there = both.get(symptom, ())
        both[symptom] = (*new, *there) if first else (*there, *new)
    return both


def slower(facts):
    """Half the learning rate; empty without one."""
    rate = facts.learning_rate
    if rate is None:
        return (Remedy("lower the learning rate", "learning_rate"),)
    if not rate:
        return ()
    half = options.text(rounded(rate / 2))
    return (Remedy("halve the learning rate", "learning_rate", half),)


def softer(facts):
    """Weaker changes of colours; empty if they are weak."""
    strength = facts.jitter_strength
    words = "change the images' colours less"
    if strength is None:
        return (Remedy(words, "jitter_strength"),)
    if strength <= SOFT_JITTER:
        return ()
    return (Remedy(words, "jitter_strength", options.text(SOFT_JITTER)),)


def faster_images(facts):
    """Ways to have the images of a step sooner."""
    more = Remedy("give the run more processors")
    fewer = Remedy("use fewer views", "num_views")
    stored = Remedy(
        "keep images in memory at twice the largest view", "stored_size"
    )
    coarse = options.text(COARSE_CROPS)
    cut = Remedy("cut crops faster", "antialias_from", coarse)
    return (
        *(() if facts.stored_size else (stored,)),
        fewer,
        *(() if (facts.antialias_from or 0) >= COARSE_CROPS else (cut,)),
        more,
    )


def fewer_clusters(num_clusters, share):
    """That share of all clusters; empty if there is nothing to take away.

    Args:
      num_clusters: K of each head.
      share: of the clusters that images are in.
    """
    fewer = tuple(max(2, round(share * count)) for count in num_clusters)
    if fewer >= tuple(num_clusters):
        return ()
    words = "use fewer clusters; ten per kind of image are ample"
    return (Remedy(words, "num_clusters", options.text(fewer)),)


def harder(epsilon):
    """Half of an epsilon; empty if that would change nothing more."""
    half = max(LEAST_EPSILON, rounded(epsilon / 2))
    if half >= epsilon:
        return ()
    return (Remedy("make codes harder", "epsilon", options.text(half)),)


def softer_codes(epsilon):
    """A slightly larger epsilon."""
    more = options.text(rounded(1.2 * epsilon))
    return (Remedy("make codes a little softer", "epsilon", more),)


def rounded(number):
    """A number to three digits, as people write settings."""
    return float(f"{number:.3g}")
