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
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

import numpy as np
from cases import measured_apart, peak_bytes

TIMEOUT = 1800  # seconds a process
HEADS = 10
ORDER_ROWS = 4096

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
EXTRACTED = 2_048  # images
SHARED_ROWS = (100_000, 300, 128)  # N, K, d of the k-means that replicas share

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


# The model: terms and their fit.


def pass_terms(rows, clusters, width):
    """Of a pass over N rows: products, scores, rows, a call."""
    return {
        "N K d": rows * clusters * width,
        "N K": rows * clusters,
        "N d": rows * width,
        "1": 1,
    }


def batch_terms(rows, clusters, width):
    """Of an online clustering's batch: products, centroids, a call."""
    return {
        "B K d": rows * clusters * width,
        "K d": clusters * width,
        "1": 1,
    }


def step_terms(clusters, batch, queue):
    """Of SwAV's step: network, head, codes, a call."""
    return {
        "B": batch,
        "B K": batch * clusters,
        "(B + Q) K": (batch + queue) * clusters,
        "1": 1,
    }


def fit(terms, points, values):
    """`{term: coefficient >= 0}`, least squares of the relative error."""
    from scipy.optimize import nnls

    rows = np.array([list(terms(*point).values()) for point in points], float)
    scale = rows.max(axis=0)
    rows = rows / scale / np.array(values)[:, None]
    solution, _ = nnls(rows, np.ones(len(values)))
    return dict(zip(terms(*points[0]), solution / scale, strict=True))


def predicted(terms, coefficients, point):
    return sum(terms(*point)[name] * x for name, x in coefficients.items())


def tell_model(terms, model, points, values, held_out, held_values):
    """Prints coefficients and errors; returns the worst held-out error."""
    print("  " + ", ".join(f"{x:.3g} x {name}" for name, x in model.items()))
    for names, some, measured in (
        ("fitted", points, values),
        ("held out", held_out, held_values),
    ):
        errors = []
        for point, value in zip(some, measured, strict=True):
            guess = predicted(terms, model, point)
            errors.append(guess / value - 1)
            print(
                f"  {names:8} {point!s:24} measured {value:10.4g}, "
                f"model {guess:10.4g}, {errors[-1]:+.0%}",
                flush=True,
            )
    return max(map(abs, errors))


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


# What is measured, each in a process of its own.


def measured(kind, *numbers):
    return measured_apart(__file__, kind, *numbers, timeout=TIMEOUT)


def each_point(numbers, measure):
    """Seconds of each point of three, and what the last added to the peak."""
    points = [numbers[i : i + 3] for i in range(0, len(numbers), 3)]
    seconds, added = [], 0
    for point in points:
        before = peak_bytes()
        seconds.append(measure(*point))
        added = peak_bytes() - before
    return {"seconds": seconds, "added": added}


def kmeans_pass(*numbers):
    """Seconds of an iteration of k-means."""
    return each_point(numbers, kmeans_seconds)


def kmeans_seconds(num_rows, num_clusters, width, strategy=None):
    from tfclust.ops.kmeans import kmeans

    rows = random_rows(num_rows, width)

    def run(iters):
        kmeans(
            rows,
            num_clusters,
            num_iters=iters,
            initial_centroids=rows[:num_clusters],
            empty="keep",
            strategy=strategy,
        )

    return seconds_a_pass(run, num_rows)


def transport_pass(*numbers):
    """Seconds of a pass of SeLa's label step, without its cache."""
    from tfclust.ops.transport import balanced_labels

    def measure(num_rows, num_clusters, width):
        rows = random_rows(num_rows, width)
        kernel = random_rows(width, num_clusters) / width**0.5

        def run(passes):
            balanced_labels(
                rows,
                kernel,
                power=25.0,
                tolerance=0.0,
                max_iters=passes,
                cache_bytes=0,
            )

        return seconds_a_pass(run, num_rows)

    return each_point(numbers, measure)


def seconds_a_pass(run, num_rows):
    """Seconds of one more pass; of more of them where they are short."""
    passes = 3 if num_rows > 20_000 else 10
    run(1)  # traces and compiles
    few, many = (least_seconds(lambda n=n: run(n)) for n in (1, 1 + passes))
    return (many - few) / passes


def coke_batch(*numbers):
    """Seconds of CoKe's assignment, duals and centroids of a batch."""
    import tensorflow as tf

    from tfclust.ops import online_kmeans

    def measure(batch, num_clusters, width):
        rows = tf.constant(random_rows(batch, width))
        centroids = tf.constant(random_rows(width, num_clusters))
        duals = tf.zeros([num_clusters])
        counts = tf.ones([num_clusters], tf.int64)
        means = online_kmeans.RunningMeans(centroids, counts)

        def run():
            labels = online_kmeans.assign(rows, centroids, duals)
            online_kmeans.move_duals(
                duals, labels, dual_step=0.02, min_share=0.4
            )
            moved = online_kmeans.move_centroids(means, rows, labels, True)
            moved.counts.numpy()

        return seconds_a_call(run)

    return each_point(numbers, measure)


def odc_batch(*numbers):
    """Seconds of ODC's memories in a batch, and of all new centroids."""
    from tfclust.ops import online_clusters

    def measure(batch, num_clusters, width):
        num_rows = 10 * num_clusters
        clusters = online_clusters.Clusters(
            random_rows(num_rows, width),
            np.zeros(num_rows, np.int32),
            np.zeros((num_clusters, width), np.float32),
            np.zeros((num_clusters, width)),
            np.zeros(num_clusters, np.int64),
        )
        online_clusters.relabel_all(
            clusters, np.arange(num_rows) % num_clusters
        )
        new, index = random_rows(batch, width), np.arange(batch)

        def run():
            online_clusters.update_rows(clusters, index, new, 0.5)
            online_clusters.refresh_centroids(clusters)

        return seconds_a_call(run)

    return each_point(numbers, measure)


def held_folder(num_images):
    """Peak of a folder's source: names, sizes, the check's results."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "one").write_bytes(_small_png())
        for i in range(num_images):
            parent = folder / "images" / f"class_{i // 5000:04d}"
            if i % 5000 == 0:
                parent.mkdir(parents=True)
            (parent / f"image_{i:08d}.png").symlink_to("../../one")
        return _held_source(f"folder:{folder / 'images'}", folder, num_images)


def held_tfrecord(num_images):
    """Peak of the source of a TFRecord file."""
    import tensorflow as tf

    feature = tf.train.Feature(
        bytes_list=tf.train.BytesList(value=[_small_png()])
    )
    features = tf.train.Features(feature={"image/encoded": feature})
    record = tf.train.Example(features=features).SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "images.tfrecord"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for _ in range(num_images):
                writer.write(record)
        return _held_source(f"tfrecord:{path}", folder, num_images)


def _held_source(uri, folder, num_images):
    from tfclust import data

    began = time.process_time()
    source = data.open_source(uri, cache_dir=str(folder))
    assert source.num_images == num_images
    assert source.manifest_hash
    return {"peak": peak_bytes(), "seconds": time.process_time() - began}


def held_labels(num_images):
    """Peak of a label memory and the monitor's, HEADS heads, one epoch on."""
    from tfclust.engine.monitor import ClusterMonitor
    from tfclust.layers.memories import RowMemory

    began = time.process_time()
    labels = RowMemory(num_images, HEADS, name="labels")
    monitor = ClusterMonitor(num_images, (1_000,) * HEADS, uniform_loss=1.0)
    monitor.next_epoch()
    del labels
    return {"peak": peak_bytes(), "seconds": time.process_time() - began}


def order_of_rows(*counts):
    """Seconds of a batch's places in an epoch's order, for each N."""
    import tensorflow as tf

    from tfclust.data.views import sampling

    positions = tf.range(ORDER_ROWS, dtype=tf.int64)
    sampling.shuffled(positions, 0, 0, ORDER_ROWS)
    before = peak_bytes()
    seconds = [
        seconds_a_call(lambda n=n: sampling.shuffled(positions, 0, 0, n))
        for n in counts
    ]
    return {"seconds": seconds, "added": peak_bytes() - before}


def replicas_parts(num_replicas):
    """Processor seconds of what parts of one processor share.

    SwAV's step, an image of the pass before a clustering, and an iteration of
    k-means; the peak is the step's.
    """
    import steps

    from tfclust import methods
    from tfclust.engine.loop import distribute
    from tfclust.runtime import devices

    batch_size = 64
    strategy = devices.make_strategy("auto", num_replicas)
    views = steps.noise_views(
        batch_size, 32, num_images=EXTRACTED, num_views=(2,)
    )
    with strategy.scope():
        method = steps.build(
            methods.METHODS["swav"], "small", views, num_clusters=300
        )
    batches = distribute(strategy, lambda **shards: views.batches(0, **shards))
    batch = next(batches)
    method.make_train_function()
    step = seconds_a_call(lambda: method.train_function(batch)[0].numpy())
    peak = peak_bytes()
    extract = seconds_a_call(lambda: method.extract("units"), 1) / EXTRACTED
    iteration = kmeans_seconds(*SHARED_ROWS, strategy=strategy)
    found = {"step": step, "extract": extract, "kmeans": iteration}
    return {**found, "peak": peak}


def seconds_a_call(function, repeats=20):
    function()

    def several():
        for _ in range(repeats):
            function()

    return least_seconds(several) / repeats


def least_seconds(function, repeats=2):
    """Least processor seconds of some calls; others only ever add."""
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        function()
        seconds.append(time.process_time() - began)
    return min(seconds)


def random_rows(num_rows, width):
    """Rows of noise, of which no two are alike."""
    generator = np.random.default_rng(num_rows + width)
    return generator.standard_normal((num_rows, width), np.float32)


def _small_png():
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 100, 50)).save(file, "PNG")
    return file.getvalue()


CASES = {
    "kmeans": kmeans_pass,
    "transport": transport_pass,
    "coke": coke_batch,
    "odc": odc_batch,
    "folder": held_folder,
    "tfrecord": held_tfrecord,
    "labels": held_labels,
    "order": order_of_rows,
    "replicas": replicas_parts,
}


if __name__ == "__main__":
    main()
