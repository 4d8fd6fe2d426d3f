"""Detection on blood cells: a tfclust backbone against random weights.

    python tests/benchmarks/bench_detection.py [--quick] [--saved_model=...]
        [--steps=N] [--seeds=0,1,2] [--pretrain_steps=N] [--workdir=...]

The papers' comparison in small: RetinaNet on ResNet-18 at 192 px, levels 3 to
6, one convolution a head, on BCCD's 205 training images, measured on its 72
test images. Both arms have the same schedule and seeds; only the backbone's
first weights differ. Without --saved_model the backbone is trained here, by
SwAV on the same training images without their labels. Runs that are finished
in --workdir are not repeated, so the benchmark can be stopped and gone on with.

--quick takes a few steps: it shows that everything works, and measures nothing.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "bccd_voc.zip"
TRAINED, RANDOM = "tfclust", "random"
# Below this mAP50 in both arms a detector has hardly learnt anything, and a
# difference says nothing of backbones.
FLOOR = 0.10
FULL = {"steps": 300, "pretrain_steps": 1200, "seeds": (0, 1, 2)}
QUICK = {"steps": 3, "pretrain_steps": 2, "seeds": (0,)}


def main(arguments=None):
    options = parse(arguments)
    if not DATA.is_file():
        print(f"detection: left out, {DATA.name} is not there.")
        return None
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(options.workdir or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        backbone = options.saved_model or pretrained(folder, options)
        figures = {
            arm: [
                detector(folder, backbone, arm, seed, options)
                for seed in options.seeds
            ]
            for arm in (TRAINED, RANDOM)
        }
    print(table(figures, options))
    return figures


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few steps")
    parser.add_argument("--saved_model", help="a backbone of tfclust.export")
    parser.add_argument("--workdir", help="kept, to go on with")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--pretrain_steps", type=int)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--learning_rate", type=float, default=0.01)
    parser.add_argument(
        "--seeds", type=lambda words: tuple(map(int, words.split(",")))
    )
    options = parser.parse_args(arguments)
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def pretrained(folder, options):
    """A ResNet-18 by SwAV on the training images; its SavedModel."""
    exported = folder / "backbone"
    if exported.is_dir():
        return exported
    images = folder / "images"
    if not images.is_dir():
        unpack(images)
    run = folder / "pretraining"
    # K and the queue's absence suit 205 images; the rest is SwAV's.
    command(
        "tfclust.train", f"--data=folder:{images}", f"--workdir={run}",
        "--method=swav", "--backbone=resnet18", "--image_size=96",
        f"--flagfile={os.devnull}",  # hence no plan
        f"--steps={options.pretrain_steps}", "--batch_size=32",
        "--num_clusters=30", "--num_views=2", "--view_scales=0.05:0.5",
        "--projection_width=64", "--hidden_width=256", "--optimizer=lars",
        "--learning_rate=0.3", "--freeze_steps=50",
    )  # fmt: skip
    command("tfclust.export", f"--workdir={run}", f"--output={exported}")
    return exported


def unpack(images):
    """The training images alone, into a folder."""
    images.mkdir()
    with zipfile.ZipFile(DATA) as stored:
        names = stored.read("BCCD/ImageSets/Main/train.txt").decode().split()
        for name in names:
            data = stored.read(f"BCCD/JPEGImages/{name}.jpg")
            (images / f"{name}.jpg").write_bytes(data)


def detector(folder, backbone, arm, seed, options):
    """The figures of one run."""
    run = folder / f"{arm}_{seed}"
    command(
        "export.detection.train_detector",
        f"--saved_model={backbone}",
        f"--data=voc:{DATA}?split=train",
        f"--eval_data=voc:{DATA}?split=test",
        f"--workdir={run}",
        "--image_size=192", "--levels=3,6", "--anchor_size=2",
        "--head_convolutions=1", f"--batch_size={options.batch_size}",
        f"--steps={options.steps}", f"--learning_rate={options.learning_rate}",
        f"--warmup_steps={min(50, options.steps // 2)}", "--save_every=50",
        f"--seed={seed}", f"--random_weights={str(arm == RANDOM).lower()}",
    )  # fmt: skip
    return json.loads((run / "evaluation.json").read_text())


def command(module, *words):
    """Runs a command of the house; its output goes to standard error."""
    print(f"{module}: {' '.join(words)}", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT, stdout=sys.stderr, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{module} ended with exit code {done.returncode}.")


def verdict(trained, random, floor=FLOOR):
    """What two lists of mAP50, a value a seed, allow to say."""
    if min(statistics.fmean(trained), statistics.fmean(random)) < floor:
        return f"inconclusive: an arm is below the floor of {100 * floor:.0f}"
    gain = statistics.fmean(trained) - statistics.fmean(random)
    if len(trained) < 2:
        return "inconclusive: one seed has no spread"
    spread = max(max(trained) - min(trained), max(random) - min(random))
    if abs(gain) <= spread:
        return (
            f"inconclusive: a gain of {100 * gain:+.1f} is within the spread "
            f"of {100 * spread:.1f} between seeds"
        )
    better = TRAINED if gain > 0 else RANDOM
    return f"{better} is better by {100 * abs(gain):.1f} points of mAP50"


def table(figures, options):
    """A table of both arms, and the verdict."""
    lines = [
        f"BCCD, ResNet-18, 192 px, {options.steps} steps of "
        f"{options.batch_size} images, test images: mAP in %",
        f"{'backbone':10} {'mAP50':>6} {'range':>13} {'mAP':>6} {'VOC07':>6} "
        f"{'VOC12':>6}  by seed",
    ]
    for arm, runs in figures.items():
        at50 = [100 * one["map50"] for one in runs]
        means = [100 * statistics.fmean(one[name] for one in runs)
                 for name in ("map", "voc07", "voc12")]  # fmt: skip
        lines.append(
            f"{arm:10} {statistics.fmean(at50):6.1f} "
            f"{f'{min(at50):.1f} to {max(at50):.1f}':>13} "
            f"{means[0]:6.1f} {means[1]:6.1f} {means[2]:6.1f}  "
            + ", ".join(f"{value:.1f}" for value in at50)
        )
    by_arm = [[one["map50"] for one in figures[arm]] for arm in figures]
    lines.append(f"Verdict: {verdict(*by_arm)}.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
