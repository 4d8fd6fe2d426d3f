"""Memory and time of a SwAV step as K, B and Q grow.

    python tests/benchmarks/bench_growth.py [--quick]

The small backbone at 32 px, so that what grows with clusters, batch and queue
is seen. One of them grows at a time, then all. Each case is a process of its
own, whose peak is the kernel's (`ru_maxrss`): TensorFlow itself, the traces and
XLA's compilation are in it, so look at differences.
"""

import argparse
import json
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

from cases import measured_apart, peak_bytes

IMAGE_SIZE = 32
TIMEOUT = 900  # seconds a case

# (K, B, Q / B)
CASES = (
    (300, 64, 4),
    (3000, 64, 4),
    (30000, 64, 4),
    (3000, 32, 4),
    (3000, 128, 4),
    (3000, 64, 0),
    (3000, 64, 60),
    (30000, 128, 60),
)
QUICK_CASES = ((30, 16, 0), (300, 16, 4))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few small cases")
    parser.add_argument("--case", nargs=4, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        print(json.dumps(measure(*options.case)))
        return None
    cases, repeats = (QUICK_CASES, 2) if options.quick else (CASES, 9)
    print(f"\nSwAV step, backbone small, 2 views of {IMAGE_SIZE} px")
    names = ("step ms", "assign ms", "images/s", "peak MB")
    print(f"{'K':>6} {'B':>4} {'Q':>5} " + " ".join(f"{n:>10}" for n in names))
    found = []
    for num_clusters, batch, queue_batches in cases:
        rows = queue_batches * batch
        figures = measured_apart(
            __file__, num_clusters, batch, rows, repeats, timeout=TIMEOUT
        )
        found.append(figures)
        print(
            f"{num_clusters:6d} {batch:4d} {rows:5d} "
            f"{figures['step'] * 1e3:10.1f} {figures['assign'] * 1e3:10.1f} "
            f"{batch / figures['step']:10.0f} {figures['peak'] / 1e6:10.0f}",
            flush=True,
        )
    return found


def measure(num_clusters, batch, queue_rows, repeats):
    """Median seconds of a step and of its assignment, and the peak in bytes.

    The peak is taken after the steps alone.
    """
    from pairs import time_pairs
    from steps import assigner, build, stepper, two_views

    from tfclust import methods

    method = build(
        methods.METHODS["swav"],
        "small",
        two_views(batch, IMAGE_SIZE),
        num_clusters=num_clusters,
        queue_rows=queue_rows,
    )
    steps = time_pairs({"step": stepper(method)}, repeats=repeats)
    peak = peak_bytes()
    alone = time_pairs({"assign": assigner(method)}, repeats=repeats)
    medians = {k: statistics.median(v) for k, v in {**steps, **alone}.items()}
    return {**medians, "peak": peak}


if __name__ == "__main__":
    main()
