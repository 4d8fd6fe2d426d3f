"""Input: images a second of one core, tfclust against Pillow's whole pipeline.

SwAV's 2 x 224 + 6 x 96 crops of JPEGs of 500 x 400 pixels. Pillow decodes and,
for each view, crops, mirrors, jitters, greys and blurs, as the papers' code
does through torchvision. Of ours, "host" is what `tf.data` does (decode, crop,
mirror), and "+ fused" adds the colour function, here on the CPU too. "plain" is
--antialias_from=2; all else is antialiased wherever it shrinks, as Pillow's is.

Times are CPU seconds of the whole process for an image, so that they say what
one core does and other work on the machine disturbs little. To hold, pairs
measured in turn in one run, each against Pillow: `LEAST_SPEED`.

    python tests/benchmarks/bench_input.py [--quick]
"""

import argparse
import io
import pathlib
import statistics
import sys
import tempfile
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

import tfclust.runtime.quiet  # isort: skip # noqa: F401
import numpy as np
from pairs import median_ratio, print_table
from PIL import Image, ImageEnhance, ImageFilter

from tfclust import data

# Ours has a fixed cost an epoch, which 512 images show and 1,000,000 would not.
NUM_IMAGES, NUM_PHOTOS, BATCH = 512, 64, 32
SIZES, COUNTS = (224, 96), (2, 6)
SCALES = ((0.14, 1.0), (0.05, 0.14))
LEAST_SPEED = {"host": 2.0, "host, plain": 4.0, "host, plain + fused": 1.5}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds")
    quick = parser.parse_args(arguments).quick
    with tempfile.TemporaryDirectory() as folder:
        write_photos(pathlib.Path(folder))
        paths = sorted(pathlib.Path(folder).iterdir())[:NUM_PHOTOS]
        fused, plain, sequential = (
            data.Views(
                data.open_source(f"folder:{folder}"),
                batch_size=BATCH,
                view_sizes=SIZES,
                num_views=COUNTS,
                view_scales=SCALES,
                antialias_from=least,
                photometric=mode,
            )
            for least, mode in ((1, "fused"), (2, "fused"), (1, "sequential"))
        )
        rivals = {
            "Pillow": lambda: pillow_pass(paths),
            "host": lambda: host_pass(fused),
            "host, plain": lambda: host_pass(plain),
            "host + fused": lambda: device_pass(fused),
            "host, plain + fused": lambda: device_pass(plain),
            "host + sequential": lambda: device_pass(sequential),
        }
        seconds = time_in_turn(rivals, repeats=2 if quick else 7)
    title = f"views {COUNTS} x {SIZES} px of 500 x 400 JPEGs, CPU time an image"
    notes = {
        name: f"{1 / statistics.median(values):.0f} images/s a core"
        for name, values in seconds.items()
    }
    print_table(title, seconds, reference="Pillow", notes=notes)
    speed = {
        name: 1 / median_ratio(seconds, name, "Pillow") for name in LEAST_SPEED
    }
    for name, least in LEAST_SPEED.items():
        print(f"{name} {speed[name]:.2f}x Pillow, to hold: at least {least}x")
    return speed


def time_in_turn(rivals, *, repeats):
    """CPU seconds an image of each rival; one round more to warm up.

    A pass returns the number of its images.
    """
    seconds = {name: [] for name in rivals}
    for turn in range(repeats + 1):
        for name, one_pass in rivals.items():
            began = time.process_time()
            num_images = one_pass()
            if turn:
                taken = time.process_time() - began
                seconds[name].append(taken / num_images)
    return seconds


def host_pass(views):
    for _ in views.batches(0):
        pass
    return views.num_images


def device_pass(views):
    for batch in views.batches(0):
        views.on_device(batch)
    return views.num_images


def pillow_pass(paths):
    rng = np.random.default_rng(0)
    for path in paths:
        image = Image.open(path).convert("RGB")
        for size, count, scale in zip(SIZES, COUNTS, SCALES, strict=True):
            for _ in range(count):
                np.asarray(pillow_view(image, size, scale, rng), np.float32)
    return len(paths)


def pillow_view(image, size, scale, rng):
    view = image.resize(
        (size, size), Image.BILINEAR, box=random_box(image, scale, rng)
    )
    if rng.random() < 0.5:
        view = view.transpose(Image.FLIP_LEFT_RIGHT)
    if rng.random() < 0.8:
        view = jittered(view, rng)
    if rng.random() < 0.2:
        view = view.convert("L").convert("RGB")
    if rng.random() < 0.5:
        view = view.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 2.0)))
    return view


def random_box(image, scale, rng):
    width, height = image.size
    while True:
        area = rng.uniform(*scale) * width * height
        ratio = np.exp(rng.uniform(-np.log(4 / 3), np.log(4 / 3)))
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if w <= width and h <= height:
            left = rng.integers(width - w + 1)
            top = rng.integers(height - h + 1)
            return (left, top, left + w, top + h)


def jittered(view, rng):
    factors = rng.uniform(0.2, 1.8, size=3)
    turn = rng.uniform(-0.2, 0.2)
    steps = (
        lambda x: ImageEnhance.Brightness(x).enhance(factors[0]),
        lambda x: ImageEnhance.Contrast(x).enhance(factors[1]),
        lambda x: ImageEnhance.Color(x).enhance(factors[2]),
        lambda x: hue_turned(x, turn),
    )
    for i in rng.permutation(4):
        view = steps[i](view)
    return view


def hue_turned(view, turn):
    hue, saturation, value = view.convert("HSV").split()
    turned = np.asarray(hue) + np.uint8(int(turn * 255) % 256)
    parts = (Image.fromarray(turned), saturation, value)
    return Image.merge("HSV", parts).convert("RGB")


def write_photos(folder, count=NUM_IMAGES):
    """JPEGs of 500 x 400: the shared photos where they are, else noise."""
    archive = ROOT.parent / "shared" / "data" / "photos.zip"
    for i, image in enumerate(photos(archive)):
        encoded = io.BytesIO()
        image.resize((500, 400)).save(encoded, "JPEG", quality=90)
        for copy in range(i, count, NUM_PHOTOS):
            (folder / f"{copy:03d}.jpg").write_bytes(encoded.getvalue())


def photos(archive):
    if archive.is_file():
        with zipfile.ZipFile(archive) as stored:
            names = sorted(n for n in stored.namelist() if n.endswith(".jpg"))
            for name in names[:: len(names) // NUM_PHOTOS][:NUM_PHOTOS]:
                image = Image.open(io.BytesIO(stored.read(name)))
                yield image.convert("RGB")
        return
    rng = np.random.default_rng(0)
    for _ in range(NUM_PHOTOS):
        coarse = rng.integers(0, 256, (40, 50, 3), np.uint8)
        yield Image.fromarray(coarse).resize((500, 400), Image.BICUBIC)


if __name__ == "__main__":
    main()
