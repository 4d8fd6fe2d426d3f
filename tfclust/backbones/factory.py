"""A backbone by its name."""

from tfclust.backbones import alexnet, applications, front, resnet, vgg
from tfclust.backbones.adapting import adapt, batch_norms
from tfclust.backbones.fused import fuse
from tfclust.backbones.small import small

# At 64 pixels the usual stem leaves 2x2 positions at the end.
SMALL_IMAGE_SIZE = 64

# Fully connected layers tie these to the one image size they are built for;
# with the fewest pixels that their poolings can take.
FIXED_SIZE = {
    "alexnet": alexnet.SMALLEST_IMAGE,
    "vgg16_bn": vgg.SMALLEST_IMAGE,
}


def names():
    """Every name that `build` knows."""
    own = ("small", *resnet.ARCHITECTURES, *FIXED_SIZE)
    return (*own, *applications.names())


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
      name: one of `names()`.
      image_size: pixels of the largest views; decides `small_images`. alexnet
        and vgg16_bn take this size only, the other networks any.
      width: int, multiplies the channels of every convolution; small and the
        ResNets only.
      small_images: whether the stem is one 3x3 convolution without pooling;
        None where `image_size` is at most 64. Always so in small, a choice
        with the ResNets only.
      sync_batch_norm: whether BN statistics span all replicas; any network.
      zero_init_residual: whether each residual block starts as the identity;
        small and the ResNets only.
      image_mean, image_std: three floats for images in [0, 1]; None for
        SwAV's, whose first deviation is 0.228 and not the usual 0.229. Not for
        `keras.applications`.
      sobel: whether the network sees fixed edges of the grey image in two
        channels instead of colours (DeepCluster). Not for
        `keras.applications`.
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


def check_settings(
    name,
    *,
    width=1,
    small_images=None,
    zero_init_residual=False,
    image_mean=None,
    image_std=None,
    sobel=False,
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
            sobel=sobel,
        )
        return
    _refuse(name, "has no published weights in Keras", weights=weights)
    if name in FIXED_SIZE:
        _refuse(
            name,
            "has its own widths and stem and no residual blocks",
            width=width != 1 and width,
            small_images=small_images,
            zero_init_residual=zero_init_residual,
        )
        return
    if width < 1:
        raise ValueError(f"width must be at least 1. Received: width={width}.")
    if name == "small" and small_images is False:
        raise ValueError(
            "backbone small has the stem for small images only. Received: "
            "small_images=False. Take a ResNet for larger images."
        )


def check_image_sizes(name, sizes):
    """Raises ValueError where network `name` cannot take images of `sizes`.

    Args:
      name: one of `names()`.
      sizes: ints, pixels of all views, and of evaluation and export.
    """
    smallest = FIXED_SIZE.get(name)
    if smallest is None:
        return
    different = dict.fromkeys(sizes)
    received = ", ".join(map(str, different))
    if len(different) > 1:
        raise ValueError(
            f"backbone {name} ends in fully connected layers, which take the "
            "one image size they are built for. Received: images of "
            f"{received} pixels. Give image_size={max(sizes)} and views of "
            "that size alone, or take a ResNet, which takes any."
        )
    if min(sizes) < smallest:
        raise ValueError(
            f"backbone {name} needs images of at least {smallest} pixels for "
            f"its poolings. Received: {received}. Enlarge smaller images, as "
            "SeLa does CIFAR's: image_size=224 with views of 224; or take "
            "small or a ResNet."
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
