"""SwAV's step of ResNet-50 against the same step in plain PyTorch, on CPU.

    python tests/benchmarks/bench_torch.py [--quick] [--threads=1] [--bfloat16]
        [--torch_python=/path/to/python]

96 px, B=16, two views, K=3000, SGD, on one fixed batch of plain crops: the
whole `train_step` with its figures, deterministic, as a run has it. Each rival
is a process of its own, and they take their steps in turn. PyTorch is no
dependency: `--torch_python` names an interpreter that has it, and without one
only ours is timed. "channels last" is PyTorch's other layout.

To hold: 1.05 times the images a second of plain PyTorch in float32, and with
bfloat16 1.6 times, on a processor that has its instructions; without them it
takes ten times as long and more, and is left out unless `--bfloat16` asks.
"""

import argparse
import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

from pairs import median_ratio, print_table, time_pairs
from processor import has_bfloat16
from workers import Worker, serve

OURS, OURS_HALF = "tfclust", "tfclust, bfloat16"
PLAIN, LAST = "PyTorch", "PyTorch, channels last"
PLAIN_HALF = "PyTorch, bfloat16"
LEAST_SPEED = {OURS: 1.05, OURS_HALF: 1.6}
NUM_CLUSTERS = 3000


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and short")
    parser.add_argument("--bfloat16", action="store_true", help="also that")
    parser.add_argument("--threads", type=int, help="of each; default: all")
    parser.add_argument("--torch_python", default=sys.executable)
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        precision, *numbers = options.worker
        serve_ours(precision, *map(int, numbers))
        return None
    options.bfloat16 |= has_bfloat16()
    threads = options.threads or len(os.sched_getaffinity(0))
    batch, size, repeats = (4, 32, 1) if options.quick else (16, 96, 9)
    rivals = commands(options, threads, batch, size)
    with contextlib.ExitStack() as running:
        workers = {
            name: running.enter_context(Worker(command))
            for name, command in rivals.items()
        }
        seconds = time_pairs(
            {name: worker.turn for name, worker in workers.items()},
            repeats=repeats,
            warm_up=2,
        )
        processor = {
            name: worker.seconds[-repeats:] for name, worker in workers.items()
        }
        told = {name: worker.about for name, worker in workers.items()}
    print(f"\nresnet50, {size} px, B={batch}, 2 views, K={NUM_CLUSTERS}")
    print(", ".join(f"{name}: {about}" for name, about in told.items()))
    tell("clock", seconds, threads, batch)
    tell("processor", processor, threads, batch)
    return seconds, processor


def tell(clock, values, threads, batch):
    """Prints a table of the rivals, and whether ours hold their bounds."""
    reference = PLAIN if PLAIN in values else None
    notes = {
        name: f"{batch / statistics.median(taken):.1f} images/s"
        for name, taken in values.items()
    }
    title = f"time of a step by the {clock}, {threads} threads"
    print_table(title, values, reference=reference, notes=notes)
    for name in LEAST_SPEED if reference else ():
        if name in values:
            speed = 1 / median_ratio(values, name, reference)
            least = LEAST_SPEED[name]
            print(f"{name} {speed:.2f}x, to hold: at least {least}x")


def commands(options, threads, batch, size):
    """The rivals' commands by name; PyTorch's only where it is installed."""

    def ours(precision):
        numbers = map(str, (threads, batch, size))
        return [sys.executable, __file__, "--worker", precision, *numbers]

    found = {OURS: ours("none")}
    if options.bfloat16:
        found[OURS_HALF] = ours("bfloat16")
    python = options.torch_python
    look = [python, "-c", "import torch"]
    if subprocess.run(look, stderr=subprocess.DEVNULL).returncode:
        print(f"PyTorch left out: {python} does not have it (--torch_python).")
        return found
    plain = [
        python,
        str(ROOT / "tests" / "benchmarks" / "torch_step.py"),
        f"--batch={batch}",
        f"--size={size}",
        f"--threads={threads}",
        f"--num_clusters={NUM_CLUSTERS}",
    ]
    found |= {PLAIN: plain, LAST: [*plain, "--channels_last"]}
    if options.bfloat16:
        found[PLAIN_HALF] = [*plain, "--bfloat16"]
    return found


def serve_ours(precision, threads, batch, size):
    """Our side, set up as a run is."""
    from tfclust.runtime import quiet  # isort: skip

    quiet.import_tensorflow()
    import tensorflow as tf
    from steps import build, noise_views, stepper

    from tfclust import methods
    from tfclust.runtime import devices

    held = devices.set_threads(threads)
    devices.seed_everything(0)
    views = noise_views(batch, size, num_views=(2,), augmentation="none")
    with devices.precision(precision):
        method = build(
            methods.METHODS["swav"],
            "resnet50",
            views,
            num_clusters=NUM_CLUSTERS,
        )
    about = {"tensorflow": tf.__version__, "threads": held}
    serve(stepper(method), about, time.process_time)


if __name__ == "__main__":
    main()
