"""The parts that `bench_scale` measures, each in a process of its own."""

import pathlib
import tempfile
import time

import numpy as np
from cases import peak_bytes

HEADS = 10
ORDER_ROWS = 4096
EXTRACTED = 2_048  # images
SHARED_ROWS = (100_000, 300, 128)  # N, K, d of the k-means that replicas share


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
    from tfclust.ops import cluster_memory

    def measure(batch, num_clusters, width):
        num_rows = 10 * num_clusters
        clusters = cluster_memory.Clusters(
            random_rows(num_rows, width),
            np.zeros(num_rows, np.int32),
            np.zeros((num_clusters, width), np.float32),
            np.zeros((num_clusters, width)),
            np.zeros(num_clusters, np.int64),
        )
        cluster_memory.relabel_all(clusters, np.arange(num_rows) % num_clusters)
        new, index = random_rows(batch, width), np.arange(batch)

        def run():
            cluster_memory.update_rows(clusters, index, new, 0.5)
            cluster_memory.refresh_centroids(clusters)

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
    from tfclust.runtime import devices
    from tfclust.runtime.sharing import distribute

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
