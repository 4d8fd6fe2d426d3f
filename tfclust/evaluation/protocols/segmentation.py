"""Semantic segmentation: a head on a map of the network, judged by mIoU.

On images with a class a pixel (`voc:/path?split=train&sets=Segmentation`). A
linear head on the frozen network tells what its map says of each place; an FCN
with the network trained is the transfer of MoCo (He et al. 2020,
arXiv:1911.05722, appendix). Differs: the network keeps its strides (MoCo
dilates its last stage to a stride of 16), the map's features are what the
backbone's pyramid has, and scales are relative to images whose long side fills
the canvas.
"""

import dataclasses

from tfclust.evaluation.protocols.record import Column, Protocol
from tfclust.evaluation.training_checks import (
    check_rates,
    check_span,
    check_trainable,
)
from tfclust.options import check, option


@dataclasses.dataclass(frozen=True)
class Config:
    """Knobs of segmentation."""

    segmentation_head: str = option(
        "linear",
        "Head on the network's map: linear, or fcn, two convolutions of 3 x 3 "
        "with 256 channels and a dilation of 6 before it.",
        source="MoCo, appendix",
        choices=("linear", "fcn"),
    )
    segmentation_level: int = option(
        0,
        "Map that the head reads, of stride 2^level; 0 for the deepest.",
        lower=0,
        upper=5,
    )
    segmentation_size: int | None = option(
        None,
        "Side of the square canvas; empty for the model's image_size. 513 in "
        "MoCo.",
        unit="pixels",
        lower=8,
        upper=2048,
    )
    segmentation_steps: int = option(
        1000, "Steps of training.", unit="steps", lower=1
    )
    segmentation_rate: float = option(
        0.0,
        "First learning rate of the network; 0 leaves it frozen. 0.003 in "
        "MoCo.",
        lower=0.0,
    )
    segmentation_head_rate: float = option(
        0.1, "First learning rate of the head; 0.003 in MoCo.", lower=0.0
    )
    segmentation_drops: tuple[tuple[float, float], ...] = option(
        ((0.7, 0.1), (0.9, 0.1)),
        "Pairs share:factor; from that share of the steps on both rates are "
        "also multiplied by the factor. Empty for half a cosine down to 0.",
        source="MoCo, appendix",
        lower=0.0,
    )
    segmentation_weight_decay: float = option(
        1e-4, "Weight decay.", source="MoCo, appendix", lower=0.0
    )
    segmentation_batch_size: int = option(
        16,
        "Batch size; all images if there are fewer.",
        source="MoCo, appendix",
        lower=1,
    )
    segmentation_scales: tuple[float, float] = option(
        (0.5, 2.0),
        "Smallest and largest random factor on an image's size in training.",
        source="MoCo, appendix",
        lower=0.05,
        upper=20.0,
    )

    def __post_init__(self):
        check(self)
        check_span(self, "segmentation_scales")
        check_rates(self, "segmentation_rate", "segmentation_head_rate")


def run(subject, config):
    """Figures of a `Subject`, from a copy of its network; none without one."""
    if subject.network.keras_model is None:
        return {}
    from tfclust.evaluation.probes import masks, segmenting, tuning
    from tfclust.runtime import devices

    size = config.segmentation_size or subject.image_size
    num_classes = masks.classes_of(subject.train)[-1] + 1
    strategy = devices.over_gpus()
    replicas = strategy.num_replicas_in_sync
    batch = min(config.segmentation_batch_size, subject.train.num_images)
    images = masks.MaskedImages(
        subject.train,
        size=size,
        batch_size=max(1, batch // replicas) * replicas,
        scales=config.segmentation_scales,
        seed=config.evaluation_seed,
    )
    tuned = tuning.tune(
        lambda: segmenting.trunk_of(
            subject.network, config.segmentation_level, size
        ),
        lambda trunk: segmenting.head_of(
            trunk, config.segmentation_head, num_classes
        ),
        images,
        segmenting.losses,
        tuning.Settings(
            steps=config.segmentation_steps,
            rate=config.segmentation_rate,
            head_rate=config.segmentation_head_rate,
            drops=config.segmentation_drops or None,
            weight_decay=config.segmentation_weight_decay,
            seed=config.evaluation_seed,
        ),
        strategy,
    )
    found = segmenting.confusion(
        tuned, subject.test, size, num_classes, images.batch_size
    )
    return {
        **found.figures(),
        **found.intervals(**config.intervals),
        "head": config.segmentation_head,
        "steps": config.segmentation_steps,
        "train_loss": tuned.loss,
    }


def columns(figures):
    """Mean intersection over union, and the share of pixels told right."""
    if not figures:
        return ()
    what = f"segmentation, {figures.get('head', 'linear')} head"
    return (
        Column(
            f"{what}, mIoU %",
            "miou",
            percent=True,
            short="mIoU",
            chance="miou_chance",
        ),
        Column(
            f"{what}, pixels %",
            "pixel_accuracy",
            percent=True,
            said=False,
            chance="pixel_accuracy_chance",
        ),
    )


def check_images(config, train, test):
    """Refuses images without masks, and test classes that training lacks."""
    del config
    for argument, source in (("train_data", train), ("test_data", test)):
        if not source.has_masks:
            raise ValueError(
                "the protocol segmentation needs a class a pixel. Received: "
                f"{argument}={source.uri}. Give "
                "voc:/path?split=train&sets=Segmentation, or leave "
                "segmentation out of protocols."
            )
    from tfclust.evaluation.probes import masks

    known = masks.classes_of(train)
    strange = set(masks.classes_of(test)) - set(known)
    if strange:
        raise ValueError(
            "test_data must have only classes that training has seen. "
            f"Received: pixels of {sorted(strange)} in {test.uri}, which no "
            f"image of {train.uri} has. Give training images of each."
        )


def check_network(config, network, train):
    """Refuses a function of images, which cannot be trained."""
    del config, train
    check_trainable("segmentation", network)


PROTOCOL = Protocol(
    run,
    Config,
    learns=True,
    columns=columns,
    words="a class a pixel from the network's map",
    check=check_images,
    labels=False,
    default_for=("masks",),
    check_network=check_network,
)
