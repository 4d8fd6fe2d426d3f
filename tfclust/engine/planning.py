"""What a plan knows of images and machine, and what it settles for a run.

A method's config settles its own knobs, and those of views and optimizer that
depend on the method (`MethodConfig.plan`); `training/planning` the others.
"""

import math
from typing import Any, NamedTuple

# Each has an entry for each size of views.
VIEWS = ("view_sizes", "num_views", "view_scales")
# Whether they make sense depends on others, which a plan settles.
DEPENDENT = (*VIEWS, "color_jitter", "resize_size", "rate_drops")
_WARMUP_SHARE = 0.05  # of a run's steps; 1 epoch of 12 to 18 in CIFAR's recipes
_FEW_STEPS = 20  # a warm-up shorter than this is none
_SMALLEST_PAIR = 16  # pixels, of large views beside which small ones show much
_AT_BATCH = 64
_PUBLISHED_BATCH = 256
# Of published recipes at that batch (SwAV), and Keras's defaults.
_PUBLISHED_RATES = {"adamw": 1e-3, "lamb": 1e-3}
_PUBLISHED_RATE = 0.6
_AS_IN_CIFARS = "as in CIFAR's recipe"
_TRAINED_SHARE = 0.1  # of the learning rate, from trained weights


class Setting(NamedTuple):
    """A knob's value in a plan."""

    value: Any
    why: str  # the reason, and the source if there is one


class PlanFacts(NamedTuple):
    """What a method's config may use to settle its knobs."""

    num_images: int
    batch_size: int
    view_size: int  # pixels, of the large views
    total_steps: int  # optimizer steps of the run
    accelerated: bool = False  # whether there is a GPU
    trained: bool = False  # whether the backbone starts from trained weights
    least_size: int = 4  # pixels, of the smallest views that the network takes
    one_size: bool = False  # whether it takes one size only
    given: dict[str, Any] = {}  # what the user has settled, by knob

    @property
    def steps_per_epoch(self):
        """Whole batches in the images."""
        return max(1, self.num_images // self.batch_size)

    @property
    def local_size(self):
        """Pixels of small views: 20 beside 32, 96 beside 224."""
        share = 96 / 224 if self.view_size >= 96 else 20 / 32
        return max(4, round(self.view_size * share / 4) * 4)

    def clusters(self, images_a_cluster, roots=2):
        """K that grows as the square root of N: 200 for 10,000 images."""
        most = max(2, self.num_images // images_a_cluster)
        return min(round(roots * math.sqrt(self.num_images)), most)

    def heads(self, count, images_a_cluster, roots=2, most=None):
        """The `Setting` of `count` heads of K each, `most` or fewer."""
        clusters = self.clusters(images_a_cluster, roots)
        why = f"{roots} sqrt(N), and {images_a_cluster} images each at least"
        if most is not None and clusters > most:
            clusters, why = most, "as many as a batch's codes can tell apart"
        return Setting((clusters,) * count, why)


def draft_of(given):
    """`{knob: value}` of what makes sense before a plan is made."""
    return {n: v for n, v in given.items() if n not in DEPENDENT}


def multi_crop(facts, num_large, num_small):
    """Settings of views: `num_large` of the whole size, `num_small` smaller.

    All have one size where the network takes no smaller one, or images are
    tiny.
    """
    too_small = facts.local_size < facts.least_size
    if facts.view_size < _SMALLEST_PAIR or facts.one_size or too_small:
        return one_size(facts, num_large)
    why = "small views are cheap and worth points (SwAV, 3.3)"
    return {
        "view_sizes": Setting((facts.view_size, facts.local_size), why),
        "num_views": Setting((num_large, num_small), why),
        "view_scales": Setting(
            ((0.3, 1.0), (0.15, 0.5)),
            "shares of an image of few pixels that still show what it is",
        ),
    }


def one_size(facts, num_views, smallest=0.3):
    """Settings of views that all have the same size."""
    return {
        "view_sizes": Setting((facts.view_size,), "views of one size"),
        "num_views": Setting((num_views,), "the method's own number"),
        "view_scales": Setting(
            ((smallest, 1.0),),
            "shares of an image of few pixels that still show what it is",
        ),
    }


def usual_rate(optimizer, batch_size):
    """A learning rate that suits an optimizer, by its name, and a batch.

    Published rates belong to batches of 256 and more; by the square root of the
    batch they reach those of recipes at 64 that were tried here.
    """
    rate = _PUBLISHED_RATES.get(optimizer, _PUBLISHED_RATE)
    return rate * math.sqrt(batch_size / _PUBLISHED_BATCH)


def rates(facts, rate, *, weight_decay, why=_AS_IN_CIFARS):
    """Settings of the optimizer: a warm-up, then half a cosine.

    Args:
      facts: `PlanFacts`.
      rate: float, the largest learning rate at a batch of 64.
      weight_decay: float.
      why: str, the reason for both.
    """
    given, batch = facts.given, facts.batch_size
    optimizer = given.get("optimizer", "sgd")
    told = f"{rate:g} at a batch of {_AT_BATCH}, {why}"
    scaled = rate * math.sqrt(batch / _AT_BATCH)
    if optimizer != "sgd":
        scaled = usual_rate(optimizer, batch)
        told = f"usual for {optimizer} and batches of {batch}"
    if facts.trained:
        scaled *= _TRAINED_SHARE
        told += f", times {_TRAINED_SHARE:g} since the weights are trained"
    steps = round(_WARMUP_SHARE * facts.total_steps)
    steps = steps if steps >= _FEW_STEPS else 0
    warmup = round(steps / facts.steps_per_epoch, 3)
    start = given.get("learning_rate", scaled) / 20
    if not given.get("warmup_epochs", warmup):
        start = 0.0
    settings = {}
    if given.get("rate_drops"):
        settings["schedule"] = Setting("constant", "rate_drops are for it")
    return {
        **settings,
        "optimizer": Setting("sgd", "at small batches LARS has no advantage"),
        "learning_rate": Setting(_short(scaled), told),
        "start_learning_rate": Setting(
            _short(start), "where the warm-up starts"
        ),
        "warmup_epochs": Setting(
            warmup, f"{steps:,} steps, a twentieth of the run"
        ),
        "weight_decay": Setting(weight_decay, why),
    }


def _short(value):
    """A number of two digits."""
    return float(f"{value:.2g}")
