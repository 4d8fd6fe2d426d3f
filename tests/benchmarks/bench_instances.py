"""Objects found again: trained against untrained against pixels.

    python tests/benchmarks/bench_instances.py [--quick]

SwAV learns from the 320 training photos of `../shared/data/photos.zip`. Objects
of its test photos are then looked for under other crops, turns, light, colour
and clutter, in Oxford's format (`tests/support/instance_set.py`); whitening is
learnt on the training photos. Everything goes through the commands: train,
export, and evaluate of export/retrieval.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

from tests.support import instance_set

DATA = ROOT.parent / "shared" / "data" / "photos.zip"
SIDE = 64
RECIPE = {
    "flagfile": os.devnull,  # hence no plan
    "method": "swav",
    "backbone": "small",
    "image_size": SIDE,
    "stored_size": 96,
    "batch_size": 32,
    "num_clusters": 40,
    "projection_width": 64,
    "hidden_width": 256,
    "freeze_steps": 30,
    "view_sizes": SIDE,
    "num_views": 2,
    "view_scales": "0.2:1",
    "blur_probability": 0,
    "jitter_strength": 0.5,
    "optimizer": "sgd",
    "learning_rate": 0.2,
    "weight_decay": 1e-4,
    "warmup_epochs": 2,
}
# Of the evaluation; whitening from the photos that were learnt from.
RUNS = {"R-MAC": ("rmac", True), "GeM": ("gem", True), "SPoC": ("spoc", False)}


def command(module, **given):
    """Runs a command of the project; None leaves a flag out."""
    words = [f"--{name}={v}" for name, v in given.items() if v is not None]
    subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def measure(folder, epochs, num_objects, views, num_others):
    """{pooling: {network: figures}} after training in `folder`."""
    with zipfile.ZipFile(DATA) as archive:
        archive.extractall(folder)
    photos = sorted((folder / "photos" / "test").rglob("*.jpg"))
    # Evenly over the classes, which the folders' order has.
    step = max(1, len(photos) // num_objects)
    objects = photos[::step][:num_objects]
    others = [path for path in photos if path not in objects][:num_others]
    instance_set.write(folder / "set", folder / "truth", objects, others, views)
    train = f"folder:{folder / 'photos' / 'train'}"
    run, exported = folder / "run", folder / "export"
    command("tfclust.train", data=train, workdir=run, epochs=epochs, **RECIPE)
    command("tfclust.export", workdir=run, output=exported)
    found = {}
    for name, (pooling, whiten) in RUNS.items():
        figures = folder / f"{pooling}.json"
        command(
            "export.retrieval.evaluate",
            saved_model=exported,
            images=folder / "set",
            ground_truth=folder / "truth",
            pooling=pooling,
            longer_side=2 * SIDE,
            whiten_images=train if whiten else None,
            whiten_width=64,
            output=figures,
        )
        found[name] = json.loads(figures.read_text())
    return found


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and short")
    quick = parser.parse_args(arguments).quick
    if not DATA.is_file():
        print("left out: needs the shared real images beside the project")
        return None
    sizes = (3, 20, 4, 20) if quick else (60, 60, 5, 60)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(pathlib.Path(folder), *sizes)
    epochs, objects, views, others = sizes
    print(
        f"{objects} objects in {views} views among {others} other photos, "
        f"after {epochs} epochs; mAP %"
    )
    print(f"{'':8}{'trained':>11}{'untrained':>11}{'pixels':>11}")
    for name, networks in found.items():
        cells = [f"{figures['mAP']:11.1f}" for figures in networks.values()]
        print(f"{name:8}{''.join(cells)}", flush=True)
    return found


if __name__ == "__main__":
    main()
