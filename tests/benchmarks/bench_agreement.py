"""Agreement of a million labels with 10,000 clusters; kNN of many rows.

    python tests/benchmarks/bench_agreement.py [--quick]

To hold: all figures of agreement, with their chance levels, in under 10 s; kNN
of 1.28 M x 50 k rows in the memory of the rows and 2 GB.
"""

import argparse
import pathlib
import resource
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

from tfclust.runtime import quiet  # isort: skip

quiet.import_tensorflow()
import numpy as np

from tfclust.evaluation import evaluate_knns
from tfclust.evaluation.agreement import agreement

SECONDS = 10.0
WIDTH = 128


def labels_and_clusters(num_images, num_classes, num_clusters):
    """Clusters that know something of the class."""
    random = np.random.default_rng(0)
    labels = random.integers(num_classes, size=num_images)
    near = labels * 7 + random.integers(10, size=num_images)
    other = random.integers(num_clusters, size=num_images)
    knows = random.random(num_images) < 0.6
    return labels, np.where(knows, near % num_clusters, other)


def time_agreement(num_images):
    for num_classes in (1000, 10_000):
        labels, clusters = labels_and_clusters(num_images, num_classes, 10_000)
        began = time.perf_counter()
        found = agreement(labels, clusters)
        seconds = time.perf_counter() - began
        held = "holds" if seconds < SECONDS else "MISSED"
        print(
            f"{num_images:,} images, {num_classes:,} classes, 10,000 clusters: "
            f"{seconds:.1f} s ({held} {SECONDS:g} s), AMI {found.ami:.3f}, "
            f"accuracy {found.accuracy:.3f}",
            flush=True,
        )


def time_knn(num_bank, num_queries):
    random = np.random.default_rng(0)
    # Made as float32: another peak before would hide the search's.
    bank = random.standard_normal([num_bank, WIDTH], np.float32)
    queries = random.standard_normal([num_queries, WIDTH], np.float32)
    labels = random.integers(1000, size=num_bank)
    for use_faiss in (True, False):
        before = _peak()
        began = time.perf_counter()
        evaluate_knns(
            bank,
            labels,
            queries,
            labels[:num_queries],
            num_neighbors=(20, 200),
            temperatures=(0.07, 0.1),
            use_faiss=use_faiss,
        )
        print(
            f"kNN of {num_bank:,} x {num_queries:,} rows of {WIDTH}, "
            f"{'faiss' if use_faiss else 'TensorFlow'}: "
            f"{time.perf_counter() - began:.0f} s, "
            f"{(_peak() - before) / 1e9:.2f} GB beside the rows' "
            f"{(bank.nbytes + queries.nbytes) / 1e9:.2f} GB",
            flush=True,
        )


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    time_agreement(100_000 if quick else 1_000_000)
    time_knn(*((20_000, 1000) if quick else (1_281_167, 50_000)))


if __name__ == "__main__":
    main()
