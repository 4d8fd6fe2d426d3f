"""Balanced codes 4096 x 3000 against the reference formulation.

    python tests/benchmarks/bench_sinkhorn.py [--quick]

The reference normalises the whole matrix at every pass, as SwAV's
`distributed_sinkhorn` does, in a TensorFlow graph. To hold: a ratio of at most
0.35, pairs measured in turn in one run.
"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

from tfclust.runtime import quiet  # isort: skip

quiet.import_tensorflow()
import numpy as np
import tensorflow as tf
from pairs import median_ratio, print_table, time_pairs

from tfclust.ops.sinkhorn import balanced_codes

EPSILON = 0.05
NUM_ITERS = 3
LARGEST_RATIO = 0.35


@tf.function
def reference_codes(scores):
    """The formulation of SwAV's appendix, matrix by matrix."""
    q = tf.transpose(tf.exp(scores / EPSILON))  # [K, B]
    num_clusters, batch = (
        tf.cast(n, tf.float32) for n in tf.unstack(tf.shape(q))
    )
    q /= tf.reduce_sum(q)
    for _ in range(NUM_ITERS):
        q /= tf.reduce_sum(q, axis=1, keepdims=True)
        q /= num_clusters
        q /= tf.reduce_sum(q, axis=0, keepdims=True)
        q /= batch
    return tf.transpose(q * batch)


def cosines(batch, num_clusters, width=128, seed=0):
    """Scores of random unit rows and random unit prototypes."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(batch, width))
    prototypes = generator.normal(size=(num_clusters, width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    return tf.constant(rows @ prototypes.T, tf.float32)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and short")
    quick = parser.parse_args(arguments).quick
    batch, num_clusters = (1024, 500) if quick else (4096, 3000)
    scores = cosines(batch, num_clusters)

    def ours():
        return balanced_codes(scores, epsilon=EPSILON, num_iters=NUM_ITERS)

    apart = np.abs(ours().numpy() - reference_codes(scores).numpy()).max()
    functions = {
        "reference": lambda: reference_codes(scores).numpy(),
        "tfclust": lambda: ours().numpy(),
    }
    seconds = time_pairs(functions, repeats=5 if quick else 31)
    title = f"codes {batch} x {num_clusters}, epsilon {EPSILON}, {NUM_ITERS} it"
    notes = {"tfclust": f"largest difference of a code {apart:.1e}"}
    print_table(title, seconds, reference="reference", notes=notes)
    ratio = median_ratio(seconds, "tfclust", "reference")
    print(f"ratio {ratio:.2f}, to hold: at most {LARGEST_RATIO}")
    return ratio


if __name__ == "__main__":
    main()
