"""SwAV's training steps on one fixed batch, for benchmarks to time."""

from tfclust.runtime import quiet  # isort: skip

quiet.import_tensorflow()
import numpy as np
import tensorflow as tf

from tfclust import backbones, data, methods, optimizers

RATE = 0.01


class ConstantCodes(methods.METHODS["swav"]):
    """SwAV whose codes are the same for every image: no assignment."""

    def assign(self, outputs, index):
        rows = outputs.units.shape[1]
        return tuple(
            tuple(tf.fill([rows, k], 1.0 / k) for _ in range(self.code_views))
            for k in self.config.num_clusters
        )


def two_views(batch_size, image_size):
    """Two views of noise, as many images as a batch."""
    return noise_views(batch_size, image_size, num_views=(2,))


def noise_views(batch_size, image_size, *, num_images=None, **knobs):
    """Views of noise, by default of a batch's images; `knobs` as `Views`'s."""
    shape = (num_images or batch_size, image_size, image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return data.Views(
        data.ArraySource(images),
        batch_size=batch_size,
        image_size=image_size,
        **({"view_scales": ((0.14, 1.0),)} | knobs),
    )


def build(method_class, backbone, views, *, num_clusters, queue_rows=0, **how):
    """A compiled method; its queues are full, so that they count.

    Args:
      method_class: SwAV or `ConstantCodes`.
      backbone: its name.
      views: `data.Views`.
      num_clusters: int K. queue_rows: int Q.
      **how: what `compile` takes; SGD where it names no optimizer.
    """
    method = method_class(
        backbones.build(backbone, image_size=views.image_size),
        num_clusters=num_clusters,
        queue_rows=queue_rows,
        queue_start_epoch=0,
        freeze_steps=0,
    )
    method.compile(**({"optimizer": optimizers.SGD(RATE)} | how))
    method.prepare(views)
    if queue_rows:
        fill_queues(method)
    return method


def fill_queues(method):
    """Puts random projections into all rows of SwAV's queues."""
    for view in range(method.views.num_global_views):
        queue = getattr(method, f"queue_{view}")
        queue.features.assign(unit_rows(queue.rows, queue.features.shape))
        queue.filled.assign(queue.rows)


def stepper(method):
    """A function that takes one training step and waits for its loss."""
    batch = next(iter(method.views.batches(0)))
    method.make_train_function()

    def step():
        loss, _ = method.train_function(batch)
        return loss.numpy()

    return step


def assigner(method):
    """A function that assigns a batch of random projections, and waits."""
    shape = (method.views.num_views, method.views.batch_size)
    units = unit_rows(0, (*shape, method.projection_width))
    index = tf.range(shape[1])

    @tf.function
    def assign(units):
        nothing = tf.zeros([])
        outputs = methods.Outputs(nothing, nothing, units, ())
        return method.assign(outputs, index)

    return lambda: [codes.numpy() for codes in tf.nest.flatten(assign(units))]


def unit_rows(seed, shape):
    rows = np.random.default_rng(seed).normal(size=tuple(shape))
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    return tf.constant(rows, tf.float32)
