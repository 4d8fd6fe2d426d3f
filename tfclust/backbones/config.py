"""The knobs of a backbone."""

import dataclasses

from tfclust.backbones.settings import (
    APPLICATIONS,
    HUB,
    IMAGENET,
    SMALL_IMAGE_SIZE,
    check_settings,
    preset_of,
)
from tfclust.options import SHAPES, check, option


@dataclasses.dataclass(frozen=True)
class BackboneConfig:
    """Which network turns images into features, and how it starts."""

    backbone: str = option(
        "resnet50",
        "small, resnet18, resnet34, resnet50, alexnet, vgg16_bn; a network in "
        "keras.applications by its name there, such as EfficientNetV2B0; or "
        "hub:<preset> for one of KerasHub.",
        source="SwAV",
        resume="never",
        why_never=SHAPES,
    )
    width: int = option(
        1,
        "Multiplies the channels of every convolution; 2, 4 and 5 in SwAV.",
        source="SwAV",
        lower=1,
        resume="never",
        why_never=SHAPES,
    )
    small_image_stem: str = option(
        "auto",
        "Whether a ResNet starts with one 3x3 convolution and no pooling; "
        f"auto: for images up to {SMALL_IMAGE_SIZE} pixels.",
        source="SimCLR, B.9",
        choices=("auto", "yes", "no"),
        resume="never",
        why_never=SHAPES,
    )
    zero_init_residual: bool = option(
        False,
        "Whether each residual block starts as the identity.",
        source="SwAV",
    )
    image_mean: tuple[float, ...] | None = option(
        None,
        "Mean subtracted from images in [0, 1], by channel; empty for "
        "0.485,0.456,0.406, or for what a network of keras.applications takes.",
        source="SwAV",
    )
    image_std: tuple[float, ...] | None = option(
        None,
        "Deviation by which images are divided, by channel; empty for "
        "0.228,0.224,0.225, or for what a network of keras.applications takes.",
        source="SwAV",
        lower=1e-6,
    )
    sobel: bool = option(
        False,
        "Whether the network sees edges (two fixed filters on the grey image) "
        "instead of colours; not for networks of keras.applications.",
        source="DeepCluster",
        resume="never",
        why_never=SHAPES,
    )
    init_from: str = option(
        "",
        "Weights to start from: a run folder, a SavedModel, a .keras or a "
        ".weights.h5 file; a published checkpoint (.pth, .safetensors and "
        "the like; docs/backbones.md lists them); imagenet for those of "
        "keras.applications; hub for those of the backbone's preset; empty for "
        "random ones.",
        resume="never",
        why_never="it is read only at a run's start",
    )
    init_stages: int | None = option(
        None,
        "Number of stages after the stem that take init_from's weights; 0 for "
        "the stem alone, empty for all.",
        unit="stages",
        lower=0,
        resume="never",
        why_never="it is read only at a run's start",
    )
    frozen_stages: int = option(
        0,
        "Number of stages, the stem as the first, that keep their weights and "
        "statistics of batch norm; 0 trains all of them.",
        unit="stages",
        source="Detectron2, FREEZE_AT",
        lower=0,
        resume="never",
        why_never="the optimizer keeps nothing for frozen weights",
    )

    def __post_init__(self):
        check(self)
        check_settings(self.backbone, **arguments(self))
        if self.init_stages is not None and not self.init_from:
            raise ValueError(
                "init_stages says how much of init_from to load. Received: "
                f"init_stages={self.init_stages} without init_from."
            )
        if self.init_from == IMAGENET and self.backbone not in APPLICATIONS:
            raise ValueError(
                f"init_from={IMAGENET} means the weights that Keras publishes "
                f"for its own networks. Received: {self._named()}. Give a "
                "network of keras.applications, such as backbone=ResNet50, or "
                "init_from=./imagenet if a file or folder of yours has that "
                "name."
            )
        if self.init_from == HUB and preset_of(self.backbone) is None:
            raise ValueError(
                f"init_from={HUB} means the weights of a preset of KerasHub. "
                f"Received: {self._named()}. Give one, such as "
                f"backbone={HUB}:resnet_50_imagenet, or init_from=./{HUB} if a "
                "file or folder of yours has that name."
            )

    def _named(self):
        """The backbone in an error; it may be one that nobody has given."""
        usual = self.backbone == type(self)().backbone
        return f"backbone={self.backbone}{', the default' if usual else ''}"


def frozen_at_random(config):
    """A sentence on stages frozen with random weights, or None."""
    given = 0
    if config.init_from:
        all_given = config.init_stages is None
        given = config.frozen_stages if all_given else config.init_stages + 1
    if given >= config.frozen_stages:
        return None
    return (
        f"Frozen with random weights: {config.frozen_stages - given} of the "
        f"{config.frozen_stages} frozen stages, which init_from does not fill. "
        "They will never learn anything; lower --frozen_stages unless that is "
        "what you want."
    )


def arguments(config):
    """The arguments of `build` in a `BackboneConfig`."""
    stems = {"auto": None, "yes": True, "no": False}
    return {
        "width": config.width,
        "small_images": stems[config.small_image_stem],
        "zero_init_residual": config.zero_init_residual,
        "image_mean": config.image_mean,
        "image_std": config.image_std,
        "sobel": config.sobel,
    }
