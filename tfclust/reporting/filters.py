"""Writes a page with what the filters of networks see.

The kernels of the first convolution as pictures, and of some channels of each
layer the images that excite them most, as `evaluation/protocols/filters.py` has
found them.
"""

import base64
import io
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from tfclust import backbones, data
from tfclust.assignment.pictures import small_images
from tfclust.runtime import folders, pages, terminal

TEMPLATE = pathlib.Path(__file__).with_name("filters.html")
# The first side at which all pictures of the page have room.
SIDES = (96, 64, 48, 32, 24, 16)  # pixels
MOST_BYTES = 9_000_000
MOST_KERNELS = 512


class Network(NamedTuple):
    """What a page shows of a network.

    Attributes:
      name: str.
      source: str, the images in words.
      first: `backbones.FirstFilters`, or None.
      figures: dict that the protocol has returned.
      images: `{row: uint8 [s, s, 3]}`, as the network has seen them, small.
    """

    name: str
    source: str
    first: backbones.FirstFilters | None
    figures: dict
    images: dict


@data.telling_lost_images()
def network(name, subject, figures):
    """The `Network` of a `Subject`.

    Args:
      name: str.
      subject: `evaluation.Subject`.
      figures: dict that the protocol `filters` has returned of it.

    Raises:
      OSError: if images are gone, and their replacements too.
    """
    rows = [
        row
        for layer in figures["layers"]
        for channel in figures[f"{layer}_channels"]
        for row in channel["images"]
    ]
    cut = subject.cut
    seen = small_images(
        subject.test,
        rows,
        cut["image_size"],
        cut["resize_size"] or data.default_resize(cut["image_size"]),
    )
    source = subject.test
    return Network(
        name,
        f"{source.num_images:,} images of {terminal.one_line(source.uri)}",
        backbones.first_filters(subject.network.keras_model()),
        figures,
        {row: _shrunk(image, SIDES[0]) for row, image in seen},
    )


def write(networks, output):
    """Writes the page.

    Args:
      networks: list of `Network`.
      output: `pathlib.Path` of the page; its folder must exist.

    Returns:
      `output`.
    """
    firsts = [_first(of.first) for of in networks]
    room = MOST_BYTES - sum(
        len(kernel["picture"]) for of in firsts for kernel in of["kernels"]
    )
    small = _fitting(networks, room)
    with folders.writing(str(output), "Make room, or give another output."):
        pages.write(
            output,
            TEMPLATE,
            title="What the filters see",
            networks=[
                {
                    "name": of.name,
                    "images": of.source,
                    "first": first,
                    "layers": _layers(of, images),
                }
                for of, first, images in zip(
                    networks, firsts, small, strict=True
                )
            ],
        )
    return output


def kernel_picture(kernel, are_colours):
    """uint8 `[h, w, 3]`, or grey `[h, (w + 1) C - 1]`, of a kernel `[h, w, C]`.

    From its smallest weight, black, to its largest, white; in colours over all
    three together. Channels that are none stand beside one another.
    """
    low, high = kernel.min(), kernel.max()
    shares = (kernel - low) / max(high - low, 1e-12)
    levels = np.round(255 * shares).astype(np.uint8)
    if are_colours:
        return levels
    gap = np.full([len(levels), 1], 128, np.uint8)
    parts = [part for of in np.moveaxis(levels, -1, 0) for part in (of, gap)]
    return np.concatenate(parts[:-1], axis=1)


def _first(filters):
    """What the template shows of the first convolution."""
    if filters is None:
        return {"kernels": [], "said": ""}
    count, height, width, channels = filters.kernels.shape
    what = "the image's colours"
    if not filters.are_colours:
        what = f"{channels} channels, in grey beside one another"
    said = f"{count:,} filters of {height} x {width} pixels on {what}"
    if count > MOST_KERNELS:
        said += f"; the first {MOST_KERNELS}"
    return {
        "said": f"{filters.name}: {said}.",
        "kernels": [
            {
                "number": number,
                "picture": _png(kernel_picture(kernel, filters.are_colours)),
            }
            for number, kernel in enumerate(filters.kernels[:MOST_KERNELS])
        ],
    }


def _layers(of, small):
    """What the template shows of a network's layers."""
    found = []
    for layer in of.figures["layers"]:
        alike = of.figures[f"{layer}_alike"]
        total = of.figures[f"{layer}_num_channels"]
        channels = of.figures[f"{layer}_channels"]
        said = f"{len(channels)} of {total:,} channels."
        if alike:
            number = round(alike * total)
            said += f" {number:,} are alike for all images, so of no use."
        found.append(
            {
                "name": layer,
                "said": said,
                "channels": [
                    {
                        "number": channel["channel"],
                        "pictures": _pictures(channel, small),
                    }
                    for channel in channels
                ],
            }
        )
    return found


def _pictures(channel, small):
    return [
        {
            "picture": small[row],
            "said": f"{terminal.one_line(name)}, {activation:.3g}",
        }
        for row, name, activation in zip(
            channel["images"],
            channel["names"],
            channel["activations"],
            strict=True,
        )
    ]


def _fitting(networks, room):
    """`{row: data: URI}` of each network, as large as there is room for."""
    found = []
    for side in SIDES:
        found = [
            {
                row: pages.thumbnail(image, side)
                for row, image in of.images.items()
            }
            for of in networks
        ]
        if _num_bytes(networks, found) <= room:
            break
    return found


def _num_bytes(networks, small):
    """Bytes of all pictures, each as often as it is shown."""
    return sum(
        len(images[row])
        for of, images in zip(networks, small, strict=True)
        for layer in of.figures["layers"]
        for channel in of.figures[f"{layer}_channels"]
        for row in channel["images"]
    )


def _shrunk(image, side):
    small = Image.fromarray(image)
    small.thumbnail((side, side))
    return np.asarray(small)


def _png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode(
        "ascii"
    )
