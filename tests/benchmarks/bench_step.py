"""A SwAV step of ResNet-18 at 64 px, B=64, with and without assignment.

    python tests/benchmarks/bench_step.py [--quick]

Without assignment the codes are constants of the same shape; all else is the
same `train_step`, colour and optimizer included, on one fixed batch. The steps
are taken in turn in one process. A third step balances with a full queue, and
the assignment is timed alone, which noise in the long step does not hide.
"""

import argparse
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

from tfclust.runtime import quiet  # isort: skip

quiet.import_tensorflow()
from pairs import median_ratio, print_table, time_pairs
from steps import ConstantCodes, assigner, build, stepper, two_views

from tfclust import methods

NUM_CLUSTERS = 3000
QUEUE_BATCHES = 60  # 3840 rows at B=64, as in SwAV's recipe for batch 256
BACKBONE = "resnet18"
NONE, CODES, QUEUE = "constant codes", "codes", "codes with queue"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and short")
    quick = parser.parse_args(arguments).quick
    batch, size, repeats = (16, 32, 2) if quick else (64, 64, 7)
    views = two_views(batch, size)
    rivals = make_rivals(views)
    steps = {name: stepper(method) for name, method in rivals.items()}
    seconds = time_pairs(steps, repeats=repeats)
    notes = {
        name: f"{batch / statistics.median(values):.1f} images/s"
        for name, values in seconds.items()
    }
    title = (
        f"{BACKBONE} SwAV step, 2 views of {size} px, B={batch}, "
        f"K={NUM_CLUSTERS}, queue {QUEUE_BATCHES * batch} rows"
    )
    print_table(title, seconds, reference=NONE, notes=notes)
    alone = time_pairs(
        {name: assigner(rivals[name]) for name in (CODES, QUEUE)},
        repeats=repeats,
    )
    print_table("the assignment alone", alone)
    shares = {}
    for name in (CODES, QUEUE):
        shares[name] = 1 - 1 / median_ratio(seconds, name, NONE)
        share = statistics.median(alone[name]) / statistics.median(
            seconds[name]
        )
        print(
            f"{name}: {shares[name]:.1%} of its step by difference, "
            f"{share:.1%} by the assignment alone"
        )
    return shares


def make_rivals(views):
    """The same method with and without assignment, and with a queue."""
    swav, rows = methods.METHODS["swav"], QUEUE_BATCHES * views.batch_size
    kinds = {NONE: (ConstantCodes, 0), CODES: (swav, 0), QUEUE: (swav, rows)}
    return {
        name: build(
            kind, BACKBONE, views, num_clusters=NUM_CLUSTERS, queue_rows=queue
        )
        for name, (kind, queue) in kinds.items()
    }


if __name__ == "__main__":
    main()
