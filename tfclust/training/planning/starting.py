"""What weights to start from say of their network, before any image is read."""

from typing import Any, NamedTuple

from tfclust import saved_model
from tfclust.backbones import BackboneConfig, pretrained
from tfclust.backbones.initial_weights import find
from tfclust.backbones.settings import (
    HUB,
    IMAGENET,
    RESNETS,
    SMALL_IMAGE_SIZE,
)
from tfclust.runs import recipes
from tfclust.runs.checkpoint_reading import read_about
from tfclust.runtime import folders
from tfclust.runtime.checkpoint_names import ARRAYS

# Without them the weights do not fit, or see other images than those they know.
_OF_NETWORK = (
    "backbone", "width", "small_image_stem", "sobel", "image_mean", "image_std",
)  # fmt: skip


class Start(NamedTuple):
    """A network whose weights are given."""

    knobs: dict[str, Any]  # that build it, where they are not the defaults
    image_size: int | None = None  # pixels that it was trained at, if known


def start(config, given):
    """The `Start` of a `BackboneConfig`; None with random weights.

    Args:
      config: `BackboneConfig` of what is given.
      given: `{knob: value}`.

    Raises:
      FileNotFoundError: if `init_from` is not there.
      ValueError: if it is damaged, or of another backbone than the one given,
        or does not say of which, and none is given.
    """
    if not config.init_from:
        return None
    if config.init_from in (IMAGENET, HUB):
        return Start({})  # of the backbone, which must be given
    file = find(folders.expanded(config.init_from))
    found = _read(file)
    if found is not None:
        _check_same(config, found.knobs["backbone"], given)
        return found
    if "backbone" not in given:
        raise ValueError(
            f"init_from={config.init_from} does not say what network it is of "
            "before it is read, so backbone must be given. Received: none. "
            "Give resnet50 for what SwAV, DeepCluster-v2, DINO, MoCo and VISSL "
            "have published, alexnet or vgg16_bn for DeepCluster's "
            "(docs/backbones.md)."
        )
    if file.name.endswith(pretrained.ENDINGS) and config.backbone in RESNETS:
        # Published ones have seen ImageNet, whatever the images here are.
        return Start({"small_image_stem": "no"})
    return Start({})


def _check_same(config, backbone, given):
    if given.get("backbone", backbone) != backbone:
        raise ValueError(
            f"init_from={config.init_from} holds weights of backbone "
            f"{backbone}. Received: backbone={config.backbone}. Leave backbone "
            "out, or give other weights."
        )


def _read(file):
    """The `Start` of a file of `initial_weights.find`; None if unknown."""
    if file.name == ARRAYS:
        recipe = recipes.from_words(read_about(file.parent)["recipe"])
        return _of(recipe.backbone, recipe.largest_view)
    version = file.parents[1]  # of an export, from assets.extra
    if file != version / saved_model.BACKBONE_FILE:
        return None
    card = saved_model.read_card(version / saved_model.CARD_FILE)
    if card["recipe"] is not None:
        recipe = recipes.from_words(card["recipe"])
        return _of(recipe.backbone, recipe.largest_view)
    if "backbone" not in card:  # of a method that is no run
        return None
    config = recipes.config_of(BackboneConfig, card["backbone"])
    return _of(config, card["preprocessing"]["centre_crop"])


def _of(config, image_size):
    knobs = {name: getattr(config, name) for name in _OF_NETWORK}
    if config.small_image_stem == "auto" and config.backbone in RESNETS:
        small = image_size <= SMALL_IMAGE_SIZE
        knobs["small_image_stem"] = "yes" if small else "no"
    usual = BackboneConfig()
    needed = {n: v for n, v in knobs.items() if v != getattr(usual, n)}
    return Start({**needed, "backbone": config.backbone}, image_size)
