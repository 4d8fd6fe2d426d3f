"""Knobs that several methods share, and what a method says about its own run.

A method's config knows which of its knobs help against which symptom, and which
settings are rarely intended; `health.py` knows only figures and symptoms.
"""

import dataclasses

from tfclust.engine import remedies
from tfclust.engine.planning import Setting
from tfclust.engine.remedies import IMAGES_A_CLUSTER, Remedy, with_remedies
from tfclust.ops.filling import check_filling
from tfclust.options import SHAPES, check, option

# Why a step is never made of several smaller batches.
WHOLE_BATCH = (
    "codes or labels, batch norm and memories belong to a whole batch, so "
    "summing gradients over parts of it would be another algorithm."
)
BATCH_NORM_GROUPS = ("global", "replica")
HEAD_STARTS = ("uniform", "normal")  # first weights, `Classifier`'s start
# The cause before what it causes.
WATCHED = ("wild", "collapsed", "flat", "empty")
_LATER_PASSES = 60  # of a planned label step: 30 on CIFAR-10, 120 on digits
_MASS_ERROR = 0.01  # of a cluster's share; passes stop below it


@dataclasses.dataclass(frozen=True)
class MethodConfig:
    """Knobs of every method; a method's own config adds to them."""

    projection_width: int = option(
        128,
        "Width of projections; 0 takes the features as they are.",
        source="SwAV, A.1",
        lower=0,
        resume="never",
        why_never=SHAPES,
    )
    hidden_width: int = option(
        2048,
        "Width of the projector's hidden layer; 0 for none.",
        source="SwAV, A.1",
        lower=0,
        resume="never",
        why_never=SHAPES,
    )
    batch_norm: str = option(
        "global",
        "Rows over which batch norm takes its statistics with several "
        "replicas: the whole batch, or each replica's own, as published runs "
        "without SyncBN do on each GPU.",
        choices=BATCH_NORM_GROUPS,
    )

    def __post_init__(self):
        check(self)

    @property
    def labels_from(self):
        """Where given labels come from; None if the method is given none.

        The folder of a run, or the word source for the images' own labels.
        """
        return None

    def check_images(self, num_images, batch_size):
        """Raises ValueError if the knobs do not suit this number of images."""

    @classmethod
    def plan(cls, facts):
        """The method's own part of a plan (`training/planning`).

        Args:
          facts: `planning.PlanFacts`.

        Returns:
          `{knob: planning.Setting}`: its knobs, and those of views and
          optimizer that depend on the method.
        """
        width = 2048 if facts.accelerated else 512
        return {
            "projection_width": Setting(128, "SwAV, A.1"),
            "hidden_width": Setting(
                width, "SwAV, A.1" if facts.accelerated else "for a CPU"
            ),
        }

    def timed(self):
        """The config whose steps cost what they cost later in a run.

        A plan measures the first steps; with some methods later ones do more.
        """
        return self

    def remedies(self, facts, figures):
        """What helps against each symptom, the most likely remedy first.

        A symptom without a remedy is not reported.

        Args:
          facts: `RunFacts`.
          figures: dict, those of the last epoch.

        Returns:
          dict from a symptom of `engine/health.py` to a tuple of `Remedy`.
        """
        slower, softer = remedies.slower(facts), remedies.softer(facts)
        return {
            "flat": (*slower, *softer),
            "collapsed": slower,
            "wild": (*slower, Remedy("warm up longer", "warmup_epochs")),
            "dominated": (*slower, Remedy("look for images that are alike")),
            "restless": slower,
            "rising": (*slower, Remedy("warm up longer", "warmup_epochs")),
        }

    def explain(self, symptom, seen, history, facts):
        """The sentences on a symptom, or None if nothing can be done.

        Args:
          symptom: str, one of those in `engine/health.py`.
          seen: str, what the figures show; without a full stop.
          history: list of dicts, the figures of the epochs so far.
          facts: `RunFacts`.
        """
        known = self.remedies(facts, history[-1]).get(symptom)
        return f"{seen}. {remedies.in_a_sentence(known)}" if known else None

    def settling_steps(self, facts):
        """First steps in which bad figures are no symptoms."""
        return facts.warmup_steps

    def watched(self, facts):
        """Symptoms that end a run where they last (`engine/trouble.py`).

        Returns:
          dict from a symptom to the step from which on it is judged.
        """
        return {}

    def symptoms(self, history, facts):
        """Sentences on figures that only this method has or interprets.

        Args:
          history: list of dicts, the figures of the epochs so far.
          facts: `RunFacts`.
        """
        return []

    def notices(self, facts):
        """Sentences on settings that are allowed but rarely intended.

        Args:
          facts: `RunFacts`.
        """
        return []


@dataclasses.dataclass(frozen=True)
class ClusteringConfig(MethodConfig):
    """Knobs of a method that groups images into K clusters."""

    num_clusters: tuple[int, ...] = option(
        (3000,),
        "Clusters, one value per head; about ten times the number of classes "
        "that you expect.",
        source="SwAV, A.1",
        lower=2,
        resume="never",
        why_never=SHAPES,
    )

    def __post_init__(self):
        super().__post_init__()
        if not self.num_clusters:
            raise ValueError(
                "num_clusters needs one value per head. Received: none."
            )

    @property
    def fills_clusters(self):
        """Whether `num_clusters` is the number itself, not an upper limit."""
        return True

    def check_images(self, num_images, batch_size):
        largest = max(self.num_clusters)
        if self.fills_clusters:
            check_filling(num_images, largest)

    def remedies(self, facts, figures):
        all_of_them = sum(self.num_clusters) / max(1, len(self.num_clusters))
        empty = figures.get("empty_clusters") or all_of_them / 2
        fewer = remedies.fewer_clusters(
            self.num_clusters, 1 - empty / all_of_them
        )
        crowded = facts.num_images < IMAGES_A_CLUSTER * max(self.num_clusters)
        more = Remedy("keep more, if that many were found", "num_clusters")
        return with_remedies(
            super().remedies(facts, figures),
            empty=fewer,
            restless=fewer if crowded else (),
            unlabelled=(more,),
        )

    def watched(self, facts):
        return dict.fromkeys(WATCHED, self.settling_steps(facts))


@dataclasses.dataclass(frozen=True)
class BankedConfig(ClusteringConfig):
    """Knobs of methods that label a bank of projections each epoch."""

    num_clusters: tuple[int, ...] = option(
        (3000, 3000, 3000),
        "Clusters of each head.",
        source="main_deepclusterv2.py; SwAV, appendix D",
        lower=2,
        resume="never",
        why_never=SHAPES,
    )
    temperature: float = option(
        0.1,
        "Softmax temperature of predictions.",
        source="SwAV, appendix D",
        lower=1e-6,
    )


@dataclasses.dataclass(frozen=True)
class BalanceConfig(ClusteringConfig):
    """Knobs of a label step."""

    label_tolerance: float = option(
        1e-4,
        "The passes of a label step stop when an image's factor changes by no "
        "more than this on average. The source's bound is on the sum over "
        "images: 8e-8 each at ImageNet, 2e-7 at CIFAR.",
        lower=0.0,
    )
    label_iters: int = option(
        2000, "Largest number of passes per label step and head.", lower=1
    )

    @classmethod
    def plan(cls, facts):
        return {
            **super().plan(facts),
            "label_tolerance": Setting(
                0.01, "clusters are even; hardly a label changes below it"
            ),
        }

    def timed(self):
        """A network that has learnt takes more passes than a random one."""
        iters = min(_LATER_PASSES, self.label_iters)
        return dataclasses.replace(self, label_tolerance=0.0, label_iters=iters)

    def symptoms(self, history, facts):
        """Whether a label step stopped because its passes ran out."""
        logs = history[-1]
        error = logs.get("label_mass_error") or 0.0
        passes = logs.get("label_passes") or 0
        if error > _MASS_ERROR:
            return [
                f"Soft labels leave a cluster {error:.0%} off its share: the "
                "passes of the label step ended before clusters were even. "
                "Raise --label_iters."
            ]
        if passes and passes >= self.label_iters:
            return [
                f"A label step ended after {passes:,} passes, before images' "
                f"factors changed by less than {self.label_tolerance:g}. "
                "Clusters are even; raise --label_iters for labels closer to "
                "the optimum, or --label_tolerance for faster label steps."
            ]
        return []


def few_images_for_kmeans(config, facts, enough=IMAGES_A_CLUSTER):
    """A list with a notice if k-means has few images per cluster, or empty.

    Args:
      config: `ClusteringConfig` of a method that runs k-means over all images.
      facts: `RunFacts`.
      enough: int, images per cluster.
    """
    largest = max(config.num_clusters)
    images = facts.num_images / largest
    if images >= enough or largest <= 2:  # fewer than two are none
        return []
    return [
        f"k-means has {images:.0f} images per cluster, and it should have "
        f"{enough} or more. Lower --num_clusters to "
        f"{max(2, facts.num_images // enough)} or fewer."
    ]


def configured(config_class, config, knobs):
    """An instance of `config_class`, given directly or by its knobs."""
    if config is not None and knobs:
        raise TypeError(
            "give either config or knobs. Received: a config and "
            f"{', '.join(knobs)}."
        )
    if config is not None:
        return config
    known = {field.name for field in dataclasses.fields(config_class)}
    unknown = sorted(set(knobs) - known)
    if unknown:
        raise ValueError(
            f"unknown: {', '.join(unknown)}. {config_class.__name__} has "
            f"{', '.join(sorted(known))}."
        )
    if isinstance(knobs.get("num_clusters"), int):
        knobs["num_clusters"] = (knobs["num_clusters"],)
    return config_class(**knobs)
