"""The knobs of `train_detector`."""

import dataclasses
import math

from tfclust import options
from tfclust.data.config import MAX_BAD_SHARE
from tfclust.options import option
from tfclust.runtime.machine import PRECISIONS

# What a run may go on with another value of.
FREE = ("workdir", "output", "eval_data", "eval_batch_size", "save_every")
_FINEST, _COARSEST = 2, 8


@dataclasses.dataclass(frozen=True)
class DetectorConfig:
    """A detector and its training."""

    saved_model: str = option(
        "", "The SavedModel of tfclust.export: a version, or their folder."
    )
    data: str = option(
        "",
        "Images with boxes to learn: voc:/folder or zip, with ?split=train if "
        "wanted, or coco:/file.json, with ?images=/folder if they lie "
        "elsewhere.",
    )
    eval_data: str = option("", "The same to measure on; empty measures none.")
    workdir: str = option(
        "", "Folder of the run: checkpoints, figures, what was left out."
    )
    output: str = option(
        "",
        "Folder of the versions of the SavedModel; empty for saved_model in "
        "workdir.",
    )
    image_size: int = option(
        640,
        "Side of the square canvas; an image's longer side is resized to it.",
        unit="pixels",
        lower=32,
    )
    levels: tuple[int, int] = option(
        (3, 7),
        "Finest and coarsest level of the pyramid: strides 2^finest to "
        "2^coarsest.",
        source="RetinaNet, 3",
        lower=_FINEST,
        upper=_COARSEST,
    )
    anchor_size: float = option(
        4.0,
        "Side of the smallest square anchor of a level, in strides; less for "
        "small objects.",
        source="RetinaNet, 4: 32 pixels at level 3",
        lower=0.5,
    )
    head_convolutions: int = option(
        4, "Convolutions of each head before its last.", lower=0,
        source="RetinaNet, 4",
    )  # fmt: skip
    frozen_stages: int = option(
        0, "Stages of the backbone that are not trained; 1 is the stem.",
        lower=0, source="SwAV and MoCo train all",
    )  # fmt: skip
    frozen_statistics: bool = option(
        False,
        "Whether batch norms keep the statistics of the backbone, for batches "
        "of less than 4 images.",
    )
    random_weights: bool = option(
        False,
        "Whether the backbone starts from random weights instead: a yardstick "
        "for what pretraining is worth.",
    )
    batch_size: int = option(8, "Images a step.", lower=1)
    steps: int = option(12000, "Steps in all.", lower=1)
    learning_rate: float = option(
        0.005, "After warm-up; divided by 10 after 3/4 and 11/12 of the steps.",
        lower=1e-8, source="RetinaNet, 4.1: 0.01 for 16 images",
    )  # fmt: skip
    warmup_steps: int = option(
        500, "Steps in which the rate rises.", lower=0, source="Detectron2"
    )
    weight_decay: float = option(
        1e-4, "Decoupled, times the rate.", lower=0.0, source="RetinaNet, 4.1"
    )
    clip_norm: float = option(
        10.0, "Largest norm of a step's whole gradient.", lower=1e-3
    )
    flip_probability: float = option(
        0.5, "Of exchanging left and right.", lower=0.0, upper=1.0
    )
    scale_jitter: tuple[float, float] = option(
        (0.8, 1.25), "Smallest and largest scale of an image.",
        lower=0.05, upper=20.0,
    )  # fmt: skip
    mixed_precision: str = option(
        "none", "Numbers in which the network computes.",
        choices=tuple(PRECISIONS),
    )  # fmt: skip
    seed: int = option(0, "Of heads, order and jitter.", lower=0)
    save_every: int = option(500, "Steps between checkpoints.", lower=1)
    eval_batch_size: int = option(8, "Images at once in measuring.", lower=1)
    max_bad_share: float = option(
        MAX_BAD_SHARE,
        "Share of unreadable images and annotations that is left out; more is "
        "an error.",
        lower=0.0,
        upper=1.0,
    )

    def __post_init__(self):
        options.check(self)
        for name, what in (
            ("saved_model", "exports/mine"),
            ("data", "voc:/folder?split=train"),
            ("workdir", "detectors/mine"),
        ):
            if not getattr(self, name):
                raise ValueError(
                    f"{name} must be given, such as --{name}={what}."
                )
        for name in ("levels", "scale_jitter"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(
                    f"{name} must be the smaller and the larger. Received: "
                    f"{name}={low},{high}. Try {high},{low}."
                )

    def rate(self, step):
        """The learning rate of a step, from 0."""
        rate = self.learning_rate
        if step < self.warmup_steps:
            rate *= (step + 1) / self.warmup_steps
        for share in (3 / 4, 11 / 12):
            if step >= math.ceil(share * self.steps):
                rate /= 10
        return rate
