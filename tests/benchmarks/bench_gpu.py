"""A SwAV step of ResNet-50 on one GPU, multi-crop: by precision and XLA.

    python tests/benchmarks/bench_gpu.py [--quick]

2 views of 224 px and 6 of 96 px, B=64, K=3000, no queue, LARS, on one fixed
batch in the GPU's memory: the whole `train_step`, colours and figures included,
without input, as fast as steps can be sent (the last one's loss is waited for).
Each case is a process of its own, its first step's seconds are those of tracing
and compilation. Where TensorFlow sees no GPU nothing is measured.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

from tfclust.runtime import quiet  # isort: skip

quiet.import_tensorflow()
import tensorflow as tf
from cases import measured_apart
from pairs import time_pairs
from steps import RATE, build, noise_views

from tfclust import methods, optimizers
from tfclust.runtime import devices

NUM_CLUSTERS = 3000
STEPS = 10  # of a round, sent without a wait between them
TIMEOUT = 900  # seconds a case


class Case(NamedTuple):
    """What is trained."""

    backbone: str
    sizes: tuple
    batch: int
    precision: str
    jit_compile: bool
    rounds: int = 5

    def __str__(self):
        precision = {"none": "float32"}.get(self.precision, self.precision)
        return precision + (", one XLA program" if self.jit_compile else "")


RECIPE = ("resnet50", (224, 96), 64)
CASES = tuple(
    Case(*RECIPE, precision, jit_compile)
    for precision in ("none", "bfloat16")
    for jit_compile in (False, True)
)
QUICK_CASES = (Case("small", (32, 16), 16, "none", True, rounds=1),)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and short")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        print(json.dumps(measure(Case(*json.loads(options.case)))))
        return None
    if not options.quick and not tf.config.list_physical_devices("GPU"):
        print("Nothing measured: TensorFlow sees no GPU.")
        return None
    found = {}
    for case in QUICK_CASES if options.quick else CASES:
        found[case] = measured_apart(
            __file__, json.dumps(case), timeout=TIMEOUT
        )
        tell(case, found[case])
    return found


def tell(case, found):
    """Prints a case's line."""
    print(
        f"{case.backbone}, 2x{case.sizes[0]} + 6x{case.sizes[1]} px, "
        f"B={case.batch}, {case} on {found['device']}: "
        f"{case.batch / found['seconds']:.0f} images/s, "
        f"{found['seconds'] * 1e3:.1f} ms a step (best "
        f"{found['best'] * 1e3:.1f}, worst {found['worst'] * 1e3:.1f}), "
        f"{found['bytes'] / 2**30:.1f} GiB at most, first step "
        f"{found['first']:.0f} s",
        flush=True,
    )


def measure(case):
    """Seconds a step, seconds of the first, bytes on the GPU at most."""
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    views = noise_views(
        case.batch,
        case.sizes[0],
        num_views=(2, 6),
        view_sizes=tuple(case.sizes),
        view_scales=((0.14, 1.0), (0.05, 0.14)),
    )
    with devices.precision(case.precision):
        method = build(
            methods.METHODS["swav"],
            case.backbone,
            views,
            num_clusters=NUM_CLUSTERS,
            optimizer=optimizers.LARS(RATE),
            jit_compile=case.jit_compile,
        )
        step = sender(method)
        start = time.perf_counter()
        step(1)
        first = time.perf_counter() - start
        taken = time_pairs({"step": lambda: step(STEPS)}, repeats=case.rounds)
    seconds = [value / STEPS for value in taken["step"]]
    return {
        "seconds": statistics.median(seconds),
        "best": min(seconds),
        "worst": max(seconds),
        "first": first,
        "device": name_of(gpus),
        "bytes": peak_of(gpus),
    }


def sender(method):
    """A function that sends some steps on one batch, and waits for the last."""
    batch = next(iter(method.views.batches(0)))
    method.make_train_function()
    with tf.device(tf.config.list_logical_devices()[-1].name):
        batch = tf.nest.map_structure(tf.identity, batch)

    def send(steps):
        for _ in range(steps):
            loss, _ = method.train_function(batch)
        return loss.numpy()

    return send


def name_of(gpus):
    if not gpus:
        return "a CPU"
    return tf.config.experimental.get_device_details(gpus[0])["device_name"]


def peak_of(gpus):
    return (
        tf.config.experimental.get_memory_info("GPU:0")["peak"] if gpus else 0
    )


if __name__ == "__main__":
    main()
