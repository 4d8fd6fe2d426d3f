"""Fine-tuning: the network trained further with labels, then judged.

On 1 % or 10 % of the labels (`--label_share`, `--label_list`) as SwAV does, on
all of them for transfer; on images with one label, or with several as VOC07's.
With a trunk rate of 0 it is a linear classifier on frozen features by SGD, as
for Places205 and iNaturalist.

Follows facebookresearch/swav `eval_semisup.py` at 06b1b7c, and for several
labels deepcluster's `eval_voc_classif.py`. Differs: steps in place of epochs,
so that a few hundred images are trained as long as they need; the last step
counts, never the best by test accuracy; test images are seen as one centre
crop.
"""

import dataclasses

from tfclust.evaluation.protocols.record import Column, Protocol
from tfclust.evaluation.targets import chance, of_sources
from tfclust.evaluation.training_checks import (
    check_rates,
    check_span,
    check_trainable,
)
from tfclust.options import check, option
from tfclust.runtime.machine import PRECISIONS

_STARTS = ("uniform", "normal")


@dataclasses.dataclass(frozen=True)
class Config:
    """Knobs of fine-tuning."""

    finetune_steps: int = option(
        1000,
        "Steps of fine-tuning; 20 epochs of 1 % of ImageNet by default.",
        unit="steps",
        source="SwAV, eval_semisup.py",
        lower=1,
    )
    finetune_rate: float = option(
        0.02,
        "First learning rate of the network; 0 leaves it frozen, and only a "
        "linear classifier is trained. 0.01 in SwAV for 10 %.",
        source="SwAV, A.4, 1 %",
        lower=0.0,
    )
    finetune_head_rate: float = option(
        5.0,
        "First learning rate of the classifier; 0.2 in SwAV for 10 %.",
        source="SwAV, A.4, 1 %",
        lower=0.0,
    )
    finetune_drops: tuple[tuple[float, float], ...] = option(
        ((0.6, 0.2), (0.8, 0.2)),
        "Pairs share:factor; from that share of the steps on both rates are "
        "also multiplied by the factor. Empty for half a cosine down to 0.",
        source="SwAV, epochs 12 and 16 of 20",
        lower=0.0,
    )
    finetune_weight_decay: float = option(
        0.0,
        "Weight decay of fine-tuning, L2 inside the momentum.",
        source="SwAV, A.4",
        lower=0.0,
    )
    finetune_batch_size: int = option(
        256,
        "Batch size of fine-tuning; all images if there are fewer.",
        source="SwAV, A.4",
        lower=1,
    )
    finetune_crop_scale: tuple[float, float] = option(
        (0.08, 1.0),
        "Smallest and largest share of the area in a crop; 0.1,0.5 in "
        "DeepCluster on VOC07.",
        source="SwAV, eval_semisup.py",
        lower=1e-3,
        upper=1.0,
    )
    finetune_statistics: bool = option(
        True,
        "Whether batch norms use and update each batch's statistics; false "
        "keeps those of the pretraining, as DeepCluster does on VOC07.",
        source="SwAV, eval_semisup.py",
    )
    finetune_head_start: str = option(
        "uniform",
        "First weights of the classifier: uniform within +-1 / sqrt(width), or "
        "normal, N(0, 0.01) with biases of 0.",
        source="SwAV; normal in DeepCluster",
        choices=_STARTS,
    )
    finetune_clip_norm: float | None = option(
        None,
        "Largest norm of all gradients together; empty for no limit. 10 in "
        "DeepCluster on VOC07.",
        source="DeepCluster, eval_voc_classif.py",
        lower=1e-12,
    )

    finetune_mixed_precision: str = option(
        "none",
        "Numbers in which the network computes in fine-tuning: none for "
        "float32; bfloat16; or float16, whose loss is scaled. Weights, the "
        "classifier and the loss are float32.",
        choices=tuple(PRECISIONS),
    )
    finetune_save_steps: int = option(
        500,
        "Steps of fine-tuning after which its state is kept with the features, "
        "so that the same command goes on there after an interruption, as if "
        "there had been none; 0 keeps nothing.",
        unit="steps",
        lower=0,
    )

    def __post_init__(self):
        check(self)
        check_span(self, "finetune_crop_scale")
        check_rates(self, "finetune_rate", "finetune_head_rate")


def run(subject, config):
    """Figures of a `Subject`, from a copy of its network; none without one."""
    if subject.network.keras_model is None:
        return {}
    from tfclust.evaluation import scores
    from tfclust.evaluation.probes import finetuning

    targets = of_sources(subject.train, subject.test)
    outputs = finetuning.outputs(
        subject.network,
        subject.train,
        subject.test,
        targets,
        finetuning.settings(config),
        image_size=subject.image_size,
        resize_size=subject.resize_size,
        batch_size=config.finetune_batch_size,
        crop_scale=config.finetune_crop_scale,
        head_start=config.finetune_head_start,
        test_batch_size=subject.batch_size,
        keeper_of=subject.keeper if config.finetune_save_steps else None,
    )
    return {
        **scores.figures(outputs.logits, targets, **config.intervals),
        **chance(targets),
        "num_labelled": subject.train.num_images,
        "steps": config.finetune_steps,
        "train_loss": outputs.train_loss,
        "trained": "all layers" if config.finetune_rate else "classifier",
    }


def columns(figures):
    """The share classified correctly, or mean average precision."""
    if not figures:
        return ()
    what = "fine-tuned"
    if figures.get("trained") == "classifier":
        what = "linear classifier by steps"
    count = figures.get("num_labelled")
    on = "" if count is None else f" on {count:,} labels"
    if "map_area" in figures:
        return (
            Column(
                f"{what}{on}, mAP (area) %", "map_area", percent=True,
                short="fine-tuned", chance="chance",
            ),
            Column(
                f"{what}{on}, mAP (11 points) %", "map_11", percent=True,
                said=False, chance="chance",
            ),
        )  # fmt: skip
    top1 = Column(
        f"{what}{on}, top-1 %", "top1", percent=True, short="fine-tuned",
        chance="chance",
    )  # fmt: skip
    if "top5" not in figures:
        return (top1,)
    top5 = Column(
        f"{what}{on}, top-5 %", "top5", percent=True, said=False,
        chance="top5_chance",
    )  # fmt: skip
    return top1, top5


def check_images(config, train, test):
    """Refuses test classes without training images."""
    del config
    of_sources(train, test)


def check_network(config, network, train):
    """Refuses a function of images, which cannot be trained."""
    del config, train
    check_trainable("finetune", network)


PROTOCOL = Protocol(
    run,
    Config,
    learns=True,
    columns=columns,
    words="the network trained further with labels",
    check=check_images,
    label_sets=True,
    default_for=(),
    check_network=check_network,
)
