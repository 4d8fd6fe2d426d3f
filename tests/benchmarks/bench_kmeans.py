"""k-means of 200,000 x 128 into 1,000 clusters against faiss-cpu.

    python tests/benchmarks/bench_kmeans.py [--quick]

Both start from the same rows, make 20 iterations and assign every row once
more. To hold: at most 1.2 times faiss's time at equal inertia, pairs measured
in turn in one run.
"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

from tfclust.runtime import quiet  # isort: skip

quiet.import_tensorflow()
import faiss
import numpy as np
from pairs import median_ratio, print_table, time_pairs

from tfclust.ops.kmeans import kmeans, random_rows

NUM_ITERS = 20
LARGEST_RATIO = 1.2


def mixture(num_rows, width, num_sources, seed=0):
    """Rows around random sources that overlap, as features do."""
    generator = np.random.default_rng(seed)
    sources = generator.normal(size=(num_sources, width))
    chosen = generator.integers(num_sources, size=num_rows)
    rows = sources[chosen] + generator.normal(size=(num_rows, width))
    return rows.astype(np.float32)


def faiss_inertia(rows, start):
    """Sum of squared distances after faiss's iterations from `start`."""
    clustering = faiss.Kmeans(
        rows.shape[1],
        len(start),
        niter=NUM_ITERS,
        max_points_per_centroid=len(rows),
    )
    clustering.train(rows, init_centroids=start)
    squares, _ = clustering.assign(rows)
    return float(squares.sum(dtype=np.float64))


def our_inertia(rows, start):
    result = kmeans(
        rows,
        len(start),
        num_iters=NUM_ITERS,
        initial_centroids=start,
        empty="split",
        seed=0,
    )
    return result.inertia


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and short")
    quick = parser.parse_args(arguments).quick
    num_rows, num_clusters = (20_000, 100) if quick else (200_000, 1_000)
    rows = mixture(num_rows, 128, num_sources=2 * num_clusters)
    start = random_rows(rows, num_clusters, seed=0)
    inertia = {}

    def run(name, function):
        inertia[name] = function(rows, start)

    functions = {
        "faiss": lambda: run("faiss", faiss_inertia),
        "tfclust": lambda: run("tfclust", our_inertia),
    }
    # No round to warm up: compiling takes a fraction of a second, a round
    # a minute.
    seconds = time_pairs(functions, repeats=2 if quick else 3, warm_up=0)
    notes = {name: f"inertia {value:.6e}" for name, value in inertia.items()}
    title = (
        f"k-means {num_rows} x 128, K={num_clusters}, {NUM_ITERS} iterations"
    )
    print_table(title, seconds, reference="faiss", notes=notes)
    ratio = median_ratio(seconds, "tfclust", "faiss")
    apart = inertia["tfclust"] / inertia["faiss"] - 1
    print(
        f"ratio {ratio:.2f}, to hold: at most {LARGEST_RATIO}; inertia "
        f"{apart:+.1e} relative to faiss"
    )
    return ratio, apart


if __name__ == "__main__":
    main()
