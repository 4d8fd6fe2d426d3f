"""A backbone by its name, or as a `BackboneConfig` describes it."""

from tfclust.backbones import alexnet, applications, front, resnet, vgg
from tfclust.backbones.adapting import adapt, batch_norms
from tfclust.backbones.config import arguments
from tfclust.backbones.frozen import freeze
from tfclust.backbones.fused import fuse
from tfclust.backbones.hub import hub_backbone
from tfclust.backbones.initial_weights import load_weights
from tfclust.backbones.settings import (
    APPLICATIONS,
    SMALL_IMAGE_SIZE,
    check_image_sizes,
    check_settings,
    preset_of,
)
from tfclust.backbones.small import small


def build(
    name,
    *,
    image_size=224,
    width=1,
    small_images=None,
    sync_batch_norm=False,
    zero_init_residual=False,
    image_mean=None,
    image_std=None,
    sobel=False,
    weights=None,
):
    """A backbone by name, with random weights unless told otherwise.

    Args:
      name: one of `names()`, or "hub:<preset>" for a network of KerasHub.
      image_size: pixels of the largest views; decides `small_images`. alexnet
        and vgg16_bn take this size only, the other networks any.
      width: int, multiplies the channels of every convolution; small and the
        ResNets only.
      small_images: whether the stem is one 3x3 convolution without pooling;
        None means: if `image_size` is at most 64. Always so in small; a choice
        with the ResNets only.
      sync_batch_norm: whether BN statistics span all replicas; any network.
      zero_init_residual: whether each residual block starts as the identity;
        small and the ResNets only.
      image_mean, image_std: three floats for images in [0, 1]; None for
        SwAV's, whose first deviation is 0.228 and not the usual 0.229. Not for
        `keras.applications` and KerasHub.
      sobel: whether the network sees fixed edges of the grey image in two
        channels instead of colours (DeepCluster). Not for
        `keras.applications` and KerasHub.
      weights: given to `keras.applications`; "imagenet" downloads.

    Returns:
      A functional `keras.Model` of Keras's own layers, float32 `[B, H, W, 3]`
      in [0, 1] to float32 `[B, F]`.

    Raises:
      ValueError: if the name is unknown, its network lacks a setting, or
        images are smaller than it can take.
    """
    check_settings(
        name,
        width=width,
        small_images=small_images,
        zero_init_residual=zero_init_residual,
        image_mean=image_mean,
        image_std=image_std,
        sobel=sobel,
        weights=weights,
    )
    check_image_sizes(name, (image_size,))
    if preset_of(name) is not None:
        return hub_backbone(name, sync_batch_norm=sync_batch_norm)
    if name in APPLICATIONS:
        network = applications.application(name, weights=weights)
        for layer in batch_norms(network):
            fuse(layer)
        return adapt(
            network,
            sync_batch_norm=sync_batch_norm,
            batch_norm_momentum=applications.BATCH_NORM_MOMENTUM,
        )
    settings = {
        "image_mean": front.IMAGE_MEAN if image_mean is None else image_mean,
        "image_std": front.IMAGE_STD if image_std is None else image_std,
        "sobel": sobel,
        "synchronized": sync_batch_norm,
    }
    if name == "alexnet":
        return alexnet.alexnet(image_size=image_size, **settings)
    if name == "vgg16_bn":
        return vgg.vgg16_bn(image_size=image_size, **settings)
    settings |= {"width": width, "zero_init_residual": zero_init_residual}
    if name == "small":
        return small(**settings)
    if small_images is None:
        small_images = image_size <= SMALL_IMAGE_SIZE
    return resnet.resnet(name, small_images=small_images, **settings)


def from_config(config, *, image_size, sync_batch_norm=False, say=None):
    """The backbone that `config` describes, loaded and frozen as it says.

    Args:
      config: a `BackboneConfig`.
      image_size: pixels of the largest views.
      sync_batch_norm: whether BN statistics span all replicas.
      say: called with a sentence on weights that others have published.

    Returns:
      A functional `keras.Model`; see `build`.

    Raises:
      FileNotFoundError: if `init_from` is not there.
      ValueError: if its weights do not fit, or it has fewer stages than are to
        be frozen.
    """
    backbone = build(
        config.backbone,
        image_size=image_size,
        sync_batch_norm=sync_batch_norm,
        **arguments(config),
    )
    freeze(backbone, config.frozen_stages)
    if config.init_from:
        loaded = load_weights(
            backbone,
            config.init_from,
            stages=config.init_stages,
            application=config.backbone,
        )
        if loaded.told and say is not None:
            say(loaded.told)
    return backbone
