"""The settings that each network has, known without building any."""

# At 64 pixels the usual stem leaves 2x2 positions at the end.
SMALL_IMAGE_SIZE = 64

RESNETS = ("resnet18", "resnet34", "resnet50")

# Fully connected layers tie these networks to the one image size they are built
# for; the number is the fewest pixels that their poolings can take. AlexNet's
# 63 become 15 positions after the first convolution and 7, 3 and 1 after the
# poolings; 62 would leave 2 for the last pooling, which needs 3. Each of VGG's
# five blocks halves the size.
FIXED_SIZE = {"alexnet": 63, "vgg16_bn": 32}

# Of `keras.applications`; written out, because Keras imports TensorFlow.
APPLICATIONS = (
    "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtSmall", "ConvNeXtTiny",
    "ConvNeXtXLarge", "DenseNet121", "DenseNet169", "DenseNet201",
    "EfficientNetB0", "EfficientNetB1", "EfficientNetB2", "EfficientNetB3",
    "EfficientNetB4", "EfficientNetB5", "EfficientNetB6", "EfficientNetB7",
    "EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2",
    "EfficientNetV2B3", "EfficientNetV2L", "EfficientNetV2M", "EfficientNetV2S",
    "InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2",
    "MobileNetV3Large", "MobileNetV3Small", "ResNet101", "ResNet101V2",
    "ResNet152", "ResNet152V2", "ResNet50", "ResNet50V2", "VGG16", "VGG19",
    "Xception",
)  # fmt: skip

# The word for weights that Keras publishes, where others name a file.
IMAGENET = "imagenet"

# The word for KerasHub: "hub:<preset>" is a backbone, and as weights to start
# from "hub" means those of its preset.
HUB = "hub"

# These choose their layers by the image size, so one network serves one size.
_ONE_SIZE = "NASNet"


def names():
    """Every name that `build` knows."""
    return ("small", *RESNETS, *FIXED_SIZE, *APPLICATIONS)


def preset_of(name):
    """The preset in `hub:<preset>`; None for other names."""
    prefix, colon, preset = name.partition(":")
    return preset if colon and prefix == HUB else None


def is_from_keras(name):
    """Whether a network is one of `keras.applications` or of KerasHub."""
    return name in APPLICATIONS or preset_of(name) is not None


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
    preset = preset_of(name)
    if preset == "":
        raise ValueError(
            f"backbone={HUB}: must name a preset of KerasHub. Received: none. "
            f"Give one, such as --backbone={HUB}:resnet_50_imagenet, or the "
            "folder of one."
        )
    if preset is None and name not in names():
        raise ValueError(_unknown(name))
    _check_pixels("image_mean", image_mean)
    _check_pixels("image_std", image_std)
    if is_from_keras(name):
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
        if preset is not None:
            _refuse(
                name, f"loads its weights by init_from={HUB}", weights=weights
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
            "small_images=False. Use a ResNet for larger images."
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
            "that size alone, or use a ResNet, which takes any size."
        )
    if min(sizes) < smallest:
        raise ValueError(
            f"backbone {name} needs images of at least {smallest} pixels for "
            f"its poolings. Received: {received}. Enlarge smaller images, as "
            "SeLa does CIFAR's: image_size=224 with views of 224; or use "
            "small or a ResNet."
        )


def _unknown(name):
    if str(name).startswith(_ONE_SIZE):
        return (
            f"backbone {name} chooses its layers by the image size and cannot "
            "take a second one. Received: "
            f"backbone={name}. From Python, give keras.applications.{name}("
            "include_top=False, weights=None, input_shape=(S, S, 3)) and one "
            "view size S."
        )
    lowered = {known.lower(): known for known in names()}
    meant = lowered.get(str(name).lower())
    if meant:
        return f"there is no backbone {name!r}. Did you mean {meant!r}?"
    return (
        f"backbone must be one of {', '.join(names())}. Received: "
        f"backbone={name!r}. Any other keras.Model can be given from Python."
    )


def _refuse(name, reason, **settings):
    given = [f"{key}={value}" for key, value in settings.items() if value]
    if given:
        raise ValueError(
            f"backbone {name} {reason}. Received: {', '.join(given)}. Leave "
            "it out."
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
