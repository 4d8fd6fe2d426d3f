"""A generated set in Oxford's format: objects of photos, seen again.

Each object is a photo. Its views are parts of it, turned, in another light and
colour, some before another photo as clutter; the query is a box on a view.
"""

import numpy as np
from PIL import Image, ImageEnhance

SIDE = 160
_LARGEST_TURN = 25.0  # degrees
_LIGHT = 0.45  # largest change of brightness, contrast and saturation


def write(folder, truth, photos, distractors, views=5, seed=0):
    """Writes images, and ground truth in Oxford's format.

    Args:
      folder: `pathlib.Path` for the images. truth: for the text files.
      photos: paths, one an object.
      distractors: paths of photos that no query asks for; also the clutter.
      views: int, of each object; the first is the query's.
      seed: int.
    """
    folder.mkdir(parents=True)
    truth.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for number, path in enumerate(photos):
        name = f"object_{number:03}"
        photo = _opened(path)
        names = [f"{name}_{view:02}" for view in range(views)]
        for view, file in enumerate(names):
            image = _view(photo, random)
            if view % 2:
                other = distractors[random.integers(len(distractors))]
                image = _cluttered(image, _opened(other), random)
            image.save(folder / f"{file}.jpg", quality=90)
        _write_truth(truth, name, names)
    for number, path in enumerate(distractors):
        image = _view(_opened(path), random)
        image.save(folder / f"other_{number:03}.jpg", quality=90)


def _write_truth(folder, name, names):
    # The query's own view is good, as in Oxford; cluttered ones are ok.
    lists = {"good": names[::2], "ok": names[1::2], "junk": []}
    for kind, listed in lists.items():
        text = "".join(f"{one}\n" for one in listed)
        (folder / f"{name}_{kind}.txt").write_text(text)
    edge = SIDE // 10
    box = f"{edge} {edge} {SIDE - edge} {SIDE - edge}"
    (folder / f"{name}_query.txt").write_text(f"oxc1_{names[0]} {box}\n")


def _opened(path):
    with Image.open(path) as file:
        return file.convert("RGB")


def _view(photo, random):
    """A square part of a photo, turned, in another light."""
    width, height = photo.size
    side = min(photo.size) * random.uniform(0.6, 0.95)
    left = random.uniform(0, width - side)
    top = random.uniform(0, height - side)
    angle = random.uniform(-_LARGEST_TURN, _LARGEST_TURN)
    centre = left + side / 2, top + side / 2
    turned = photo.rotate(angle, Image.Resampling.BILINEAR, center=centre)
    box = left, top, left + side, top + side
    image = turned.crop(tuple(map(int, box))).resize((SIDE, SIDE))
    for change in ("Brightness", "Contrast", "Color"):
        factor = 1 + random.uniform(-_LIGHT, _LIGHT)
        image = getattr(ImageEnhance, change)(image).enhance(factor)
    return image


def _cluttered(image, other, random):
    """The view, smaller, somewhere on another photo."""
    canvas = other.resize((SIDE, SIDE))
    side = int(SIDE * random.uniform(0.6, 0.85))
    left, top = random.integers(0, SIDE - side, 2)
    canvas.paste(image.resize((side, side)), (int(left), int(top)))
    return canvas
