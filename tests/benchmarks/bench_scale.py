"""A model of time and memory against N, B, K, d, Q and replicas, measured.

    python tests/benchmarks/bench_scale.py [--quick]

Work is counted in seconds of processor time, all threads together, which other
programs on the machine disturb less than the clock; two quiet cores take half
of it. Coefficients are fitted to the measured points by least squares of the
relative error, none below 0, and tried on points that the fit has not seen.
Peaks are the kernel's (`ru_maxrss`) of a process of its own. How a step grows
with K, B and Q is `bench_growth`'s to measure; its table is fitted here.
docs/scale.md tells what follows from it.
"""

import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

from cases import measured_apart
from scale_fit import batch_terms, fit, pass_terms, step_terms, tell_model
from scale_parts import CASES, ORDER_ROWS

TIMEOUT = 1800  # seconds a process

# (N, K, d); N ascends, so that the last peak is the largest.
FITTED = (
    (10_000, 1_000, 128),
    (50_000, 1_000, 256),
    (100_000, 300, 128),
    (100_000, 1_000, 32),
    (100_000, 1_000, 128),
    (100_000, 2_000, 128),
    (1_000_000, 200, 128),
)
HELD_OUT = ((300_000, 600, 64),)
QUICK_FITTED = ((2_000, 50, 16), (2_000, 100, 32), (8_000, 50, 16))
QUICK_HELD_OUT = ((4_000, 100, 16),)
# (B, K, d) of a batch's online clustering.
BATCHES = (
    (256, 1_000, 128),
    (256, 10_000, 128),
    (1024, 1_000, 128),
    (1024, 3_000, 128),
)
HELD_OUT_BATCHES = ((512, 5_000, 128),)
QUICK_BATCHES = ((16, 50, 16), (32, 50, 16))
QUICK_HELD_OUT_BATCHES = ((32, 100, 16),)
# N of what is held of each image.
IMAGES = (10_000, 50_000)
LABELLED = (100_000, 1_000_000)
ORDERED = (10_000, 1_000_000, 1_000_000_000)
REPLICAS = (1, 2, 4)

# (K, B, Q, ms, peak MB): docs/results, "Growth of a step", two quiet cores.
GROWTH = (
    (300, 64, 256, 85.5, 1_042),
    (3_000, 64, 256, 85.3, 1_057),
    (30_000, 64, 256, 168.4, 1_472),
    (3_000, 32, 128, 47.2, 981),
    (3_000, 128, 512, 175.9, 1_203),
    (3_000, 64, 0, 96.8, 1_043),
    (3_000, 64, 3_840, 142.1, 1_413),
)
GROWTH_HELD_OUT = ((30_000, 128, 7_680, 1_296.2, 7_517),)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few small cases")
    parser.add_argument("--case", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        from tfclust.runtime import quiet

        quiet.import_tensorflow()
        kind, *numbers = options.case
        print(json.dumps(CASES[kind](*map(int, numbers))))
        return None
    quick = options.quick
    found = {"step": tell_growth()}
    found["replicas"] = [tell_replicas(n) for n in REPLICAS[: 3 - quick]]
    for kind in ("kmeans", "transport"):
        cases = (QUICK_FITTED, QUICK_HELD_OUT) if quick else (FITTED, HELD_OUT)
        found[kind] = tell_fit(kind, "N K d", pass_terms, *cases)
    for kind in ("coke", "odc"):
        cases = (
            (QUICK_BATCHES, QUICK_HELD_OUT_BATCHES)
            if quick
            else (BATCHES, HELD_OUT_BATCHES)
        )
        found[kind] = tell_fit(kind, "B K d", batch_terms, *cases)
    images = (200, 2_000) if quick else IMAGES
    labelled = (1_000, 100_000) if quick else LABELLED
    for kind, counts in (
        ("folder", images),
        ("tfrecord", images),
        ("labels", labelled),
    ):
        found[kind] = tell_bytes(kind, counts)
    found["order"] = tell_order(ORDERED)
    return found


def tell_growth():
    found = {}
    held_out = [row[:3] for row in GROWTH_HELD_OUT]
    points = [row[:3] for row in GROWTH]
    for column, what in (
        (3, "milliseconds on two quiet cores"),
        (4, "peak MB of the whole process"),
    ):
        print(f"\nSwAV's step, {what}, by (K, B, Q)")
        values = [row[column] for row in GROWTH]
        model = fit(step_terms, points, values)
        held_values = [row[column] for row in GROWTH_HELD_OUT]
        error = tell_model(
            step_terms, model, points, values, held_out, held_values
        )
        found[what] = {"model": model, "error": error}
    return found


def tell_fit(kind, names, terms, points, held_out):
    print(f"\n{kind}: processor seconds by ({names.replace(' ', ', ')})")
    found = measured(kind, *[x for point in points for x in point])
    held = measured(kind, *[x for point in held_out for x in point])
    values = found["seconds"]
    model = fit(terms, points, values)
    error = tell_model(terms, model, points, values, held_out, held["seconds"])
    print(
        f"  the largest, {points[-1]}, adds {found['added'] / 1e6:.0f} MB to "
        "the peak",
        flush=True,
    )
    return {"model": model, "error": error, "added": found["added"]}


def tell_bytes(kind, counts):
    few, many = (measured(kind, n) for n in counts)
    a_row = (many["peak"] - few["peak"]) / (counts[1] - counts[0])
    seconds = (many["seconds"] - few["seconds"]) / (counts[1] - counts[0])
    print(
        f"\n{kind}: {a_row:.0f} bytes and {seconds * 1e6:.1f} us of processor "
        f"an image, between N = {counts[0]:,} and {counts[1]:,}",
        flush=True,
    )
    return {"bytes": a_row, "seconds": seconds}


def tell_order(counts):
    found = measured("order", *counts)
    print(
        f"\norder of {ORDER_ROWS} rows: "
        + ", ".join(
            f"{1e3 * s:.2f} ms at N = {n:,}"
            for n, s in zip(counts, found["seconds"], strict=True)
        )
        + f"; {found['added'] / 1e6:.0f} MB added"
    )
    return found


def tell_replicas(count):
    found = measured("replicas", count)
    print(
        f"replicas {count}, of processor: {found['step'] * 1e3:.0f} ms a step, "
        f"{found['extract'] * 1e6:.0f} us an image of a label step's pass, "
        f"{found['kmeans']:.2f} s an iteration of k-means; "
        f"peak {found['peak'] / 1e6:.0f} MB",
        flush=True,
    )
    return found


def measured(kind, *numbers):
    return measured_apart(__file__, kind, *numbers, timeout=TIMEOUT)


if __name__ == "__main__":
    main()
