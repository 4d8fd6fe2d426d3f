"""Assignment of images against the forward pass alone, and the page's time.

    python tests/benchmarks/bench_assign.py [--quick] [--backbones=small]

10,000 JPEGs of 64 pixels in a folder. The forward pass alone: the model on
batches of 256 that lie in memory. Assignment: `tfclust.cluster` within one
process, from the files to the table, as a share of that speed (asked: 0.9), by
the clock and by processor time, which other processes disturb less. Last the
seconds of the page with all images (asked: 60). Weights are random; they do not
matter here.
"""

import argparse
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from tfclust.runtime import quiet  # isort: skip

quiet.import_tensorflow()
import numpy as np
import tensorflow as tf
from PIL import Image

from tfclust.assignment import ClusterConfig, assigning, passing
from tfclust.assignment.model import of_method
from tfclust.reporting import page
from tfclust.reporting.config import ReportConfig
from tfclust.runs.loading import load_run
from tfclust.training import pretraining

SIDE, BATCH = 64, 256


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="500 images")
    parser.add_argument("--backbones", default="small,resnet18")
    options = parser.parse_args()
    count = 500 if options.quick else 10_000
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_photos(folder / "photos", count)
        for backbone in options.backbones.split(","):
            workdir = folder / backbone
            train(folder / "photos", workdir, backbone)
            print(line(backbone, workdir, count), flush=True)


def write_photos(folder, count):
    """JPEGs of patches of colour; noise takes longer to decode than photos."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(count):
        small = random.integers(0, 256, (6, 6, 3), np.uint8)
        photo = Image.fromarray(small).resize((SIDE, SIDE), Image.BICUBIC)
        photo.save(folder / f"{i:05}.jpg", quality=90)


def train(images, workdir, backbone):
    """A run of one step."""
    recipe = pretraining.make_recipe(
        data=f"folder:{images}", workdir=str(workdir), backbone=backbone,
        image_size=SIDE, steps=1, batch_size=64, num_clusters=100,
        freeze_steps=0, warmup_epochs=0.0, knn_images=0,
    )  # fmt: skip
    pretraining.pretrain(recipe, say=lambda words: None)


def line(backbone, workdir, count):
    run = load_run(workdir)
    model = of_method(run.method, run.recipe.run)
    config = ClusterConfig(workdir=str(workdir))
    source = passing.open_images(config, model, print)
    quietly = [].append

    def assign():
        table = workdir / "clusters.csv"
        assigning.assign_source(config, model, source, table, quietly)

    def show():
        page.write(ReportConfig(workdir=str(workdir)), quietly)

    forward, assigned = forward_seconds(model, count), seconds(assign)
    shares = forward / assigned
    return (
        f"{backbone}: forward {count / forward[0]:,.0f} images/s, assignment "
        f"{count / assigned[0]:,.0f} ({shares[0]:.2f} of it; {shares[1]:.2f} "
        f"by processor time), page {seconds(show)[0]:.1f} s"
    )


def seconds(act):
    """Seconds by the clock and of the processors, float `[2]`."""
    began = np.array([time.perf_counter(), time.process_time()])
    act()
    return np.array([time.perf_counter(), time.process_time()]) - began


def forward_seconds(model, count):
    """Of the model alone on `count` images, the first batch not counted."""
    compute = tf.function(model.compute, autograph=False)
    batch = tf.random.uniform([BATCH, SIDE, SIDE, 3])
    batches = max(1, min(20, count // BATCH))

    def forward(batches=batches):
        for _ in range(batches):
            compute(batch)["features"].numpy()

    forward(1)
    return seconds(forward) * count / (batches * BATCH)


if __name__ == "__main__":
    main()
