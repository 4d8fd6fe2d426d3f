"""Memory and time of SeLa's label step as N grows: d = 128, K = 3,000.

    python tests/benchmarks/bench_transport.py [--quick]

To hold: the peak grows with N * d, not with N * K: without a cache a label step
adds at most four times the features and 200 MB. Each case is a process of
its own, whose peak is the kernel's (`ru_maxrss`); TensorFlow itself and XLA's
compilation are in it, so look at what a case adds to the process that made its
features. Passes are timed one by one, with and without the cache of scores.

Then whole label steps, to the default tolerance: from equal factors, and from
those of the step before once the features have moved by a tenth. How many
passes they take depends on the features and on lambda; here on noise whose
logits have a standard deviation of 1, at lambda 25.
"""

import argparse
import json
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

from cases import measured_apart, peak_bytes

WIDTH = 128
TIMEOUT = 1800  # seconds a case
MOST_COPIES, MOST_BYTES = 4, 200e6  # of the features; beside them
NO_CACHE, CACHE = 0, 2**31
POWER = 25.0

# (N, K, cache_bytes, passes)
CASES = (
    (10_000, 3_000, NO_CACHE, 20),
    (10_000, 3_000, CACHE, 20),
    (100_000, 3_000, NO_CACHE, 10),
    (100_000, 3_000, CACHE, 10),
    (1_000_000, 3_000, NO_CACHE, 1),
)
QUICK_CASES = ((2_000, 100, NO_CACHE, 3), (2_000, 100, CACHE, 3))
# (N, K, cache_bytes) of whole label steps
WHOLE = ((10_000, 3_000, CACHE), (100_000, 3_000, CACHE))
QUICK_WHOLE = ((2_000, 100, CACHE),)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few small cases")
    parser.add_argument("--case", nargs="+", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        case = options.case
        print(json.dumps(measure(*case) if len(case) == 4 else whole(*case)))
        return
    print_passes(QUICK_CASES if options.quick else CASES)
    print_whole(QUICK_WHOLE if options.quick else WHOLE)


def print_passes(cases):
    print(f"\nPasses of SeLa's label step, d={WIDTH}")
    names = ("N*d MB", "N*K MB", "added MB", "s a pass", "label s")
    print(
        f"{'N':>8} {'K':>5} {'cache':>5} "
        + " ".join(f"{name:>9}" for name in names)
    )
    for case in cases:
        num_rows, num_clusters, cache_bytes, _ = case
        figures = measured_apart(__file__, *case, timeout=TIMEOUT)
        print(
            f"{num_rows:8d} {num_clusters:5d} "
            f"{'yes' if cache_bytes else 'no':>5}"
            f" {4e-6 * num_rows * WIDTH:9.0f}"
            f" {4e-6 * num_rows * num_clusters:9.0f}"
            f" {figures['added'] / 1e6:9.0f} {figures['pass']:9.2f}"
            f" {figures['label']:9.2f}",
            flush=True,
        )
        most = MOST_COPIES * 4 * num_rows * WIDTH + MOST_BYTES
        if not cache_bytes and figures["added"] > most:
            raise SystemExit(f"transport: more than {most / 1e6:.0f} MB added.")


def print_whole(cases):
    print(f"\nWhole label steps, d={WIDTH}")
    names = ("first", "passes", "s", "second", "passes", "s")
    print(f"{'N':>8} {'K':>5} " + " ".join(f"{name:>7}" for name in names))
    for case in cases:
        figures = measured_apart(__file__, *case, timeout=TIMEOUT)
        first, second = figures["first"], figures["second"]
        print(
            f"{case[0]:8d} {case[1]:5d} {'':>7} {first[0]:7d} {first[1]:7.1f}"
            f" {'':>7} {second[0]:7d} {second[1]:7.1f}",
            flush=True,
        )


def whole(num_rows, num_clusters, cache_bytes):
    """Passes and seconds of a first label step and of the one after it."""
    from tfclust.runtime import quiet  # isort: skip

    quiet.import_tensorflow()
    import numpy as np

    from tfclust.ops.transport import balanced_labels

    generator = np.random.default_rng(0)

    def noise(*shape):
        return generator.standard_normal(shape, np.float32)

    def label_step(rows, log_r):
        began = time.perf_counter()
        result = balanced_labels(
            rows,
            kernel,
            power=POWER,
            cache_bytes=cache_bytes,
            initial_log_r=log_r,
        )
        seconds = time.perf_counter() - began
        return result.log_r, (result.num_iters, seconds)

    kernel = noise(WIDTH, num_clusters) / np.float32(WIDTH**0.5)
    rows = noise(num_rows, WIDTH)
    log_r, first = label_step(rows, None)
    rows = (rows + 0.1 * noise(num_rows, WIDTH)) / np.float32(1.01**0.5)
    _, second = label_step(rows, log_r)
    return {"first": first, "second": second}


def measure(num_rows, num_clusters, cache_bytes, num_passes):
    """Seconds of a pass and of the rest, and bytes added to the peak."""
    from tfclust.runtime import quiet  # isort: skip

    quiet.import_tensorflow()
    import numpy as np

    from tfclust.ops.transport import balanced_labels

    generator = np.random.default_rng(0)

    def label_step(rows, num_passes):
        began = time.perf_counter()
        balanced_labels(
            rows,
            kernel,
            power=POWER,
            tolerance=0.0,
            max_iters=num_passes,
            cache_bytes=cache_bytes,
        )
        return time.perf_counter() - began

    kernel = generator.standard_normal((WIDTH, num_clusters), np.float32)
    kernel /= WIDTH**0.5
    label_step(generator.standard_normal((100, WIDTH), np.float32), 1)
    rows = generator.standard_normal((num_rows, WIDTH), np.float32)
    before = peak_bytes()
    # Traces and compiles as well; the peak is of this call alone.
    label_step(rows, 1)
    added = peak_bytes() - before
    least, most = (label_step(rows, n) for n in (1, 1 + num_passes))
    seconds = (most - least) / num_passes
    return {"pass": seconds, "label": least - seconds, "added": added}


if __name__ == "__main__":
    main()
