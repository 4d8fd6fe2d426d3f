"""A backbone by its name."""

from tfclust.backbones import applications, resnet
from tfclust.backbones.adapting import adapt, batch_norms
from tfclust.backbones.fused import fuse
from tfclust.backbones.small import small

# At 64 pixels the usual stem leaves 2x2 positions at the end.
SMALL_IMAGE_SIZE = 64


def names():
    """Every name that `build` knows."""
    return ("small", *resnet.ARCHITECTURES, *applications.names())


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
    weights=None,
):
    """A backbone by name, with random weights unless told otherwise.

    Args:
      name: one of `names()`.
      image_size: pixels of the largest views; decides `small_images`. The
        network takes any size.
      width: int, multiplies the channels of every convolution. Like the
        settings below, except the last, for small and the ResNets only.
      small_images: whether the stem is one 3x3 convolution without pooling;
        None where `image_size` is at most 64. Always so in small.
      sync_batch_norm: whether BN statistics span all replicas; any network.
      zero_init_residual: whether each residual block starts as the identity.
      image_mean, image_std: three floats for images in [0, 1]; None for
        SwAV's, whose first deviation is 0.228 and not the usual 0.229.
      weights: given to `keras.applications`; "imagenet" downloads.

    Returns:
      A functional `keras.Model` of Keras's own layers, float32 `[B, H, W, 3]`
      in [0, 1] to float32 `[B, F]`.

    Raises:
      ValueError: if the name is unknown, or its network lacks a setting.
    """
    check_settings(
        name,
        width=width,
        small_images=small_images,
        zero_init_residual=zero_init_residual,
        image_mean=image_mean,
        image_std=image_std,
        weights=weights,
    )
    if name in applications.names():
        network = applications.application(name, weights=weights)
        for layer in batch_norms(network):
            fuse(layer)
        return adapt(
            network,
            sync_batch_norm=sync_batch_norm,
            batch_norm_momentum=applications.BATCH_NORM_MOMENTUM,
        )
    settings = {
        "width": width,
        "image_mean": resnet.IMAGE_MEAN if image_mean is None else image_mean,
        "image_std": resnet.IMAGE_STD if image_std is None else image_std,
        "synchronized": sync_batch_norm,
        "zero_init_residual": zero_init_residual,
    }
    if name == "small":
        return small(**settings)
    if small_images is None:
        small_images = image_size <= SMALL_IMAGE_SIZE
    return resnet.resnet(name, small_images=small_images, **settings)


def check_settings(
    name,
    *,
    width=1,
    small_images=None,
    zero_init_residual=False,
    image_mean=None,
    image_std=None,
    weights=None,
):
    """Raises ValueError where network `name` lacks a setting of `build`."""
    if name not in names():
        raise ValueError(_unknown(name))
    _check_pixels("image_mean", image_mean)
    _check_pixels("image_std", image_std)
    if name in applications.names():
        _refuse(
            name,
            "has its own widths, stem, blocks and input scaling",
            width=width != 1 and width,
            small_images=small_images,
            zero_init_residual=zero_init_residual,
            image_mean=image_mean,
            image_std=image_std,
        )
        return
    _refuse(name, "has no published weights in Keras", weights=weights)
    if width < 1:
        raise ValueError(f"width must be at least 1. Received: width={width}.")
    if name == "small" and small_images is False:
        raise ValueError(
            "backbone small has the stem for small images only. Received: "
            "small_images=False. Take a ResNet for larger images."
        )


def _unknown(name):
    if str(name).startswith(applications.FIXED_SIZE):
        return (
            f"backbone {name} chooses its layers by the image size and serves "
            "no second one. Received: "
            f"backbone={name}. From Python, give keras.applications.{name}("
            "include_top=False, weights=None, input_shape=(S, S, 3)) and one "
            "view size S."
        )
    lowered = {known.lower(): known for known in names()}
    meant = lowered.get(str(name).lower())
    if meant:
        return f"no backbone is called {name!r}. Did you mean {meant!r}?"
    return (
        f"backbone must be one of {', '.join(names())}. Received: "
        f"backbone={name!r}. Any other keras.Model can be given from Python."
    )


def _refuse(name, reason, **settings):
    given = [f"{key}={value}" for key, value in settings.items() if value]
    if given:
        raise ValueError(
            f"backbone {name} {reason}. Received: {', '.join(given)}. Leave "
            "that out."
        )


def _check_pixels(name, values):
    if values is not None and len(values) != 3:
        raise ValueError(
            f"{name} must be three numbers, red, green and blue. Received: "
            f"{name}={values}."
        )
    if name == "image_std" and values is not None and min(values) <= 0:
        raise ValueError(
            f"image_std must be positive. Received: image_std={values}."
        )
