"""Writes an example to detect in: handwritten digits scattered over pictures.

python -m export.detection.example_data --output=runs/digits_voc

A PASCAL VOC folder made of scikit-learn's 1,797 digits, the images of the
quickstart; the pictures of the split test hold other digits than those of
train.
"""

import dataclasses
import io
import pathlib
import tempfile

import numpy as np
from PIL import Image

from tfclust import options
from tfclust.cli import flags
from tfclust.options import option
from tfclust.runtime import files, folders, quiet, terminal

_NAMES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight",
    "nine",
)  # fmt: skip
_TRIES = 50  # to find a free place
_OBJECT = (
    "<object><name>{}</name><difficult>0</difficult><bndbox><xmin>{}</xmin>"
    "<ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


@dataclasses.dataclass(frozen=True)
class ExampleConfig:
    """The pictures."""

    output: str = option("", "Folder to write; it must be new or empty.")
    train: int = option(300, "Pictures of the split train.", lower=1)
    test: int = option(60, "Pictures of the split test.", lower=1)
    side: int = option(96, "Of a picture.", unit="pixels", lower=48)
    smallest: int = option(18, "Height of a digit.", unit="pixels", lower=8)
    largest: int = option(34, "Height of a digit.", unit="pixels", lower=8)
    most: int = option(5, "Digits in a picture at most.", lower=1)
    seed: int = option(0, "Of everything.", lower=0)

    def __post_init__(self):
        options.check(self)
        if not self.output:
            raise ValueError(
                "output must be given, such as --output=runs/digits_voc."
            )
        if not self.smallest <= self.largest <= self.side // 2:
            raise ValueError(
                "smallest <= largest <= side / 2 must hold. Received: "
                f"smallest={self.smallest}, largest={self.largest}, "
                f"side={self.side}."
            )


def main():
    """Writes handwritten digits scattered over pictures, with their boxes."""
    config = flags.read(ExampleConfig)
    folder = folders.writable("output", config.output)
    if any(folder.iterdir()):
        raise ValueError(
            f"output must be new or empty. Received: output={config.output}, "
            "which holds something. Give another folder."
        )
    quiet.import_tensorflow()
    # Under a hidden name first: a half-written set would look complete.
    with tempfile.TemporaryDirectory(
        prefix=f".{folder.name}.", dir=folder.parent
    ) as hidden:
        whole = pathlib.Path(hidden) / "whole"
        whole.mkdir()
        write(whole, config)
        whole.rename(folder)
    terminal.say(f"Written: {folder}")


def write(folder, config):
    """Writes both splits below `folder`."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for number, split in enumerate(("train", "test")):
        digits, labels = _digits(split)
        rng = np.random.default_rng([config.seed, number])
        stems = []
        for row in range(getattr(config, split)):
            stem = f"{split}_{row:04d}"
            picture, objects = scene(digits, labels, config, rng)
            _write_one(folder, stem, picture, objects)
            stems.append(stem)
        lists = folder / "ImageSets" / "Main" / f"{split}.txt"
        files.write_text(lists, "".join(f"{stem}\n" for stem in stems))


def scene(digits, labels, config, rng):
    """A picture, and its digits.

    Args:
      digits: uint8 `[N, 8, 8]`. labels: int `[N]`.
      config: `ExampleConfig`. rng: `numpy.random.Generator`.

    Returns:
      uint8 `[S, S]`; list of (label, (left, top, right, bottom)).
    """
    side = config.side
    slope = rng.uniform(-40, 40, 2)
    grid = np.linspace(-0.5, 0.5, side)
    ground = 40 + slope[0] * grid[:, None] + slope[1] * grid[None]
    picture = ground + rng.normal(0, 8, (side, side))
    objects: list = []
    for _ in range(rng.integers(1, config.most + 1)):
        chosen = rng.integers(len(digits))
        size = int(rng.integers(config.smallest, config.largest + 1))
        place = _free_place(objects, size, side, rng)
        if place is None:
            continue
        ink = np.asarray(
            Image.fromarray(digits[chosen]).resize((size, size), 2), np.float64
        )
        rows, columns = np.nonzero(ink > 64)
        left, top = place
        part = picture[top : top + size, left : left + size]
        np.maximum(part, ink, out=part)
        box = (
            left + int(columns.min()), top + int(rows.min()),
            left + int(columns.max()) + 1, top + int(rows.max()) + 1,
        )  # fmt: skip
        objects.append((int(labels[chosen]), box))
    return np.clip(picture, 0, 255).astype(np.uint8), objects


def _free_place(objects, size, side, rng):
    """Left and top of a square that touches no other box; or None."""
    for _ in range(_TRIES):
        left, top = rng.integers(0, side - size + 1, 2).tolist()
        free = all(
            left >= right or left + size <= other_left
            or top >= bottom or top + size <= other_top
            for _, (other_left, other_top, right, bottom) in objects
        )  # fmt: skip
        if free:
            return left, top
    return None


def _digits(split):
    from tfclust.data import open_source

    source = open_source(f"digits:?split={split}")
    images = source.stored().numpy()[:, 1:-1, 1:-1, 0]  # without the border
    return images, source.labels


def _write_one(folder, stem, picture, objects):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=92)
    name = f"{stem}.jpg"
    (folder / "JPEGImages" / name).write_bytes(file.getvalue())
    height, width = picture.shape
    rows = "".join(
        _OBJECT.format(_NAMES[label], left + 1, top + 1, right, bottom)
        for label, (left, top, right, bottom) in objects
    )
    xml = (
        f"<annotation><filename>{name}</filename><size><width>{width}</width>"
        f"<height>{height}</height><depth>3</depth></size>{rows}</annotation>"
    )
    (folder / "Annotations" / f"{stem}.xml").write_text(xml, "utf-8")


if __name__ == "__main__":
    flags.define(ExampleConfig)
    flags.run(main)
