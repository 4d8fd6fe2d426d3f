"""What all methods share: one forward pass, one training step, one extraction.

A method is a `keras.Model` that says how images are assigned to clusters and
what an example's loss is; everything else is here, in this order: forward ->
assign -> stop gradient -> losses -> one weighted mean over the global batch ->
mixed-precision scale -> gradient -> rules by variable -> apply ->
`update_memory` -> monitor. The hooks below do nothing unless a method needs
them, and each names who does.
"""

import dataclasses
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfclust import backbones, optimizers
from tfclust.backbones.dropout import views_in_pass
from tfclust.engine import batch_statistics
from tfclust.engine import loop as epoch_loop
from tfclust.engine import state as run_state
from tfclust.engine.config import WHOLE_BATCH, MethodConfig
from tfclust.engine.extraction import Extractor
from tfclust.engine.monitor import Monitor
from tfclust.layers import heads
from tfclust.ops import partitions
from tfclust.ops.units import unit_vectors
from tfclust.runtime import replicas

_SAME_EVERYWHERE = "only_first_replica"


class Outputs(NamedTuple):
    """A forward pass; axis 0 is the view, global views first.

    features `[V, B, F]`, projections `[V, B, D]` as the projector gives them,
    units `[V, B, D]` the same at unit length, scores a tuple over heads (and
    branches, where a method has them) of `[V, B, K]`, before temperature.
    """

    features: tf.Tensor
    projections: tf.Tensor
    units: tf.Tensor
    scores: tuple


class ExampleLosses(NamedTuple):
    """Losses and weights of one shape that ends in the batch axis."""

    loss: tf.Tensor
    weight: tf.Tensor


class Method(keras.Model):
    """Base of the clustering methods.

    Args:
      backbone: a `keras.Model` from images in [0, 1] to features; a feature
        map is average-pooled (`backbones.adapt`).
      config: an instance of the class's `Config`, or None.
      **knobs: fields of `Config`, instead of `config`. `num_clusters` may be
        an int.

    Raises:
      ValueError: if a knob is unknown or out of its bounds.
      TypeError: if both `config` and knobs are given.
    """

    Config: type[MethodConfig]
    unit_projections = True
    view_grouping = "size"  # or "view": own batch statistics for each view
    takes_streams = False  # whether it keeps nothing of single images
    # Of its state, where NaN is no fault but stands for no answer yet.
    unknown_as_nan: tuple[str, ...] = ()

    def __init__(self, backbone, config=None, *, name=None, **knobs):
        super().__init__(name=name or type(self).__name__.lower())
        self.config = _config(type(self).Config, config, knobs)
        synchronized = self.synchronizes_batch_norm
        self.backbone = backbones.adapt(backbone, sync_batch_norm=synchronized)
        self.projector = self.build_projector(
            self.backbone.output_shape[-1], synchronized
        )
        self.projection_width = self.projector.output_shape[-1]
        self.step = _counter("step")
        self.epoch = _counter("epoch")
        self.views: Any = None  # `data.Views`, from `prepare` on
        self.total_steps: int | None = None  # of the run, while it trains
        self.order_snapshot = None
        self._extractor = Extractor(self)

    @property
    def synchronizes_batch_norm(self):
        """Whether statistics of batch norm span several replicas."""
        return batch_statistics.are_synchronized(self.config.batch_norm)

    # What a method writes.

    def assign(self, outputs, index):
        """Assignments of the replica's rows, any nest of tensors."""
        raise NotImplementedError

    def example_losses(self, outputs, assignments):
        """`ExampleLosses`; the base forms the mean over the global batch.

        A tuple of several stands for the sum of their means.
        """
        raise NotImplementedError

    def score(self, projections, units):
        """Scores before temperature, a tuple over heads of `[V, B, K]`."""
        raise NotImplementedError

    def clusterer(self):
        """A tuple over heads of `ops.clusterer.Clusterer` on projections."""
        raise NotImplementedError

    # Hooks, in the order of a run.

    def build_projector(self, features_width, synchronized):
        """A `keras.Model`, `[B, F]` to raw `[B, D]`; SwAV's two layers.

        For CoKe's three layers, ODC's neck with dropout, SeLa's none at all.
        """
        return heads.projector(
            features_width,
            hidden_width=self.config.hidden_width,
            projection_width=self.config.projection_width,
            synchronized=synchronized,
        )

    def build_memories(self, views):
        """Creates what depends on N and B (banks, queues, labels)."""

    def score_branches(self, projections, units, training):
        """`score`'s, and after them the scores of further branches.

        For CoKe's prediction head, whose batch norm must know `training`.
        """
        return self.score(projections, units)

    def variable_rules(self):
        """`{variable.path: optimizers.Rule}`: frozen, rate, decay, momentum."""
        return {}

    def begin_epoch(self, epoch):
        """Before an epoch's first step; calling it twice changes nothing.

        For CoKe's swap of centres. DeepCluster's classifier starts afresh in
        `reassign`, which a resumed epoch does not repeat.
        """

    def reassign_due(self, step):
        """Whether `reassign` runs before this step (SeLa: within epochs)."""
        return False

    def reassign(self, extract):
        """Computes new labels from `extract(what, views=, training=)`."""

    def transform_images(self, images):
        """More images from a step's, in the step: SeLa's four rotations.

        Args:
          images: a tuple over sizes of `[n, B, S, S, 3]` in [0, 1].
        """
        return images

    def take_labels(self, labels):
        """Labels from outside, int `[N, H]`; before the first step of a run.

        The one door by which they enter training; a resumed run has them in its
        state. For `fixed_labels`.
        """

    def uniform_loss(self):
        """The loss of uniform predictions, which `loss_over_log_k` is of."""
        return float(np.mean(np.log(self.config.num_clusters)))

    def order(self, epoch):
        """Image indices of the epoch, `[>= steps * B]`, or None for uniform.

        For DeepCluster's sampling over clusters and ODC's replacement.
        """
        return None

    def update_memory(self, outputs, assignments, index):
        """Writes device memories from pre-update outputs, in the step.

        `index` holds the replica's rows; gather before writing.
        """

    def host_rows(self, outputs, assignments):
        """`{name: [B, ...]}` that `after_step` wants on the host."""
        return {}

    def after_step_due(self, step):
        """Whether `after_step` runs after this step."""
        return False

    def after_step(self, rows):
        """Host side, outside the compiled step: feature memories, splits.

        Args:
          rows: `host_rows` of the global batch as NumPy, and `index`.
        """

    def figures(self):
        """`{name: float}` of an epoch, from the state, over the monitor's.

        Sizes of the pseudo-labels' clusters where the method keeps labels.
        DeepCluster adds the NMI of two epochs' pseudo-labels. New names go into
        `progress.METHOD_FIGURES`.
        """
        labels = getattr(self, "labels", None)  # a `RowMemory`
        if labels is None:
            return {}
        rows = labels.rows.numpy()  # [N, H]
        return partitions.label_sizes(rows, self.config.num_clusters)

    # The shared machinery.

    def compile(self, optimizer, jit_compile=False):
        """Sets the optimizer, and whether XLA compiles the whole step.

        Raises:
          ValueError: if `jit_compile` is asked for under several replicas: one
            traced step would be shared by all of them (keras#19005); or if the
            optimizer accumulates gradients.
        """
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        parts = getattr(inner, "gradient_accumulation_steps", None)
        if (parts or 1) > 1:
            raise ValueError(
                f"an optimizer must take a step a batch: {WHOLE_BATCH} "
                f"Received: gradient_accumulation_steps={parts}. Leave it out; "
                "where memory is short, give smaller or fewer views, mixed "
                "precision or several devices."
            )
        replicas.check_compiled(
            jit_compile, self.distribute_strategy.num_replicas_in_sync
        )
        super().compile(optimizer=optimizer, jit_compile=False)
        # Keras's own flag turns itself off under op determinism.
        self.compiles_step = bool(jit_compile)

    def build(self, input_shape=None):
        self.built = True

    def call(self, images, training=False):
        """Features `[B, F]` of float images `[B, H, W, 3]` in [0, 1]."""
        return self.backbone(images, training=training)

    def prepare(self, views):
        """Creates memories and optimizer slots for `views`; once a run.

        Raises:
          ValueError: if the backbone is too deep for the views, or the method
            cannot use them.
        """
        if self.views is views:
            return
        if self.views is not None:
            raise ValueError(
                "a method trains on one set of views: its memories have a row "
                "for each image. Build a new method around method.backbone."
            )
        source = getattr(views, "source", None)  # none of a run read again
        if source is not None and source.is_stream and not self.takes_streams:
            raise ValueError(
                f"{self.name} keeps something of each image by its index, "
                f"which a stream does not have. Received: {source.uri}. Write "
                "tfrecord: in place of tfrecord_stream:, or take SwAV."
            )
        for size in sorted(getattr(views, "view_sizes", ())):
            backbones.check_size(self.backbone, "view_sizes", size)
        backbones.check_size(self.backbone, "image_size", views.image_size)
        self.views = views
        with self.distribute_strategy.scope():
            self.monitor = Monitor(
                views.num_images,
                self.config.num_clusters,
                uniform_loss=self.uniform_loss(),
            )
            self.build_memories(views)
            rules = self.variable_rules()
            if rules:
                optimizers.set_rules(self.optimizer, rules)
            self.optimizer.build(self.trainable_variables)
        self.train_function = None

    def fit(
        self, views, *, epochs=None, steps=None, start_step=0, callbacks=()
    ):
        """Trains over `views`; see `epochs.run` for the loop.

        Args:
          views: `tfclust.data.Views`.
          epochs: int, passes over the images; or
          steps: int, optimizer steps in all.
          start_step: int, the step to resume at; `load_state` comes first.
          callbacks: Keras callbacks.

        Returns:
          A `keras.callbacks.History`.
        """
        self.prepare(views)
        return epoch_loop.run(
            self,
            views,
            total_steps=epoch_loop.total_steps(views, epochs, steps),
            start_step=start_step,
            callbacks=callbacks,
        )

    def forward(self, views, training):
        """`Outputs` of a tuple over sizes of `[n, B, S, S, 3]` images."""
        if self.view_grouping == "view":
            views = tuple(
                one for size in views for one in tf.split(size, size.shape[0])
            )
        features = [self._features(images, training) for images in views]
        if self.view_grouping == "view":
            projections = [self._project(rows, training) for rows in features]
            projections = tf.concat(projections, axis=0)
            features = tf.concat(features, axis=0)  # [V, B, F]
        else:
            features = tf.concat(features, axis=0)  # [V, B, F]
            # One call over all views: the projector's BN sees every crop.
            projections = self._project(features, training)  # [V, B, D]
        units = unit_vectors(projections)
        scores = self.score_branches(projections, units, training)
        return Outputs(features, projections, units, scores)

    def _features(self, images, training):
        count, batch, *image_shape = images.shape
        flat = tf.reshape(images, [-1, *image_shape])  # [n * B, S, S, 3]
        with views_in_pass(count):
            features = self.backbone(flat, training=training)
        features = tf.cast(features, tf.float32)
        return tf.reshape(features, [count, batch or -1, features.shape[-1]])

    def _project(self, features, training):
        count, batch, width = features.shape
        flat = tf.reshape(features, [-1, width])  # [n * B, F]
        rows = self.projector(flat, training=training)
        return tf.reshape(rows, [count, batch or -1, rows.shape[-1]])

    def train_step(self, batch):
        """One step on the replica's rows; see the module's first lines.

        Returns:
          The global loss, and `{name: [B, ...]}` of the global batch for
          `after_step`; both the same on every replica.
        """
        index = batch["index"]
        images = self.transform_images(self.views.on_device(batch))
        with tf.GradientTape() as tape:
            outputs = self.forward(images, training=True)
            with tape.stop_recording():
                assignments = self.assign(outputs, index)
            assignments = tf.nest.map_structure(tf.stop_gradient, assignments)
            loss = self._global_mean(self.example_losses(outputs, assignments))
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        batch_statistics.join(self, self.config.batch_norm)
        outputs = tf.nest.map_structure(tf.stop_gradient, outputs)
        self.update_memory(outputs, assignments, index)
        loss = replicas.all_sum(tf.stop_gradient(loss))
        index = replicas.all_gather(index)
        self.monitor.update(loss, self._nearest(outputs.scores), index)
        self.step.assign(self.step + 1)
        rows = self.host_rows(outputs, assignments)
        rows = {name: replicas.all_gather(x) for name, x in rows.items()}
        return loss, {**rows, "index": index}

    def _global_mean(self, losses):
        """This replica's part of the weighted mean over the global batch.

        Keras sums gradients over replicas, so the parts' sum is the loss.
        """
        terms = [losses] if isinstance(losses, ExampleLosses) else losses
        mean = tf.add_n([_mean_part(term) for term in terms])
        if not self.backbone.losses:
            return mean
        penalty = tf.add_n(self.backbone.losses)  # the backbone's regularizers
        return mean + penalty / replicas.num_replicas()

    def _nearest(self, scores):
        """Cluster of the first view by raw score, `[B, H]` int32, all rows.

        Raw, because balanced codes always look full.
        """
        heads_count = len(self.config.num_clusters)
        nearest = [
            tf.argmax(head[0], axis=-1, output_type=tf.int32)
            for head in scores[:heads_count]
        ]
        return replicas.all_gather(tf.stack(nearest, axis=-1))

    def make_train_function(self, force=False):
        """Compiles `train_step` for the strategy into `train_function`."""
        if self.train_function is not None and not force:
            return
        strategy = self.distribute_strategy
        step = self.train_step
        if self.compiles_step:
            step = tf.function(step, jit_compile=True, autograph=False)

        def train_function(batch):
            results = strategy.run(step, args=(batch,))
            return replicas.first_replica(strategy, results)

        # Nothing here branches on a tensor: no AutoGraph, quicker traces.
        self.train_function = tf.function(train_function, autograph=False)

    def extract(self, what, *, views="eval", training=False):
        """Rows of all N images by index, in one pass without gradients.

        Args:
          what: "features", "projections" or "units".
          views: "eval" (resized, centre crop) or "train" (global views).
          training: whether batch norm and dropout act as in training; running
            statistics then move. Such a pass is shuffled, by (seed, step),
            since images may stand by class. Rows that only fill the last
            batch repeat the first images of the pass.

        Returns:
          float32 array `[N, width]`, or `[N, global views, width]` for "train".
        """
        return self._extractor(what, views, training)

    def reset(self, values):
        """Sets `{variable: value}` and clears the variables' optimizer slots.

        For a classifier that starts afresh, as DeepCluster's does.
        """
        for variable, value in values:
            variable.assign(value)
        optimizers.reset_slots(self.optimizer, [v for v, _ in values])

    @property
    def last_assignments(self):
        """Nearest cluster by image, int32 `[N, H]`, -1 where never seen."""
        return self.monitor.last_assignments()

    def state(self):
        """All that a resumed run needs, `{explicit name: array}`."""
        return run_state.arrays_of(self)

    def load_state(self, arrays):
        """Restores what `state` gave, after `prepare`.

        Raises:
          ValueError: naming what is missing, unexpected or of another shape.
        """
        run_state.load(self, arrays)


def _mean_part(losses):
    """This replica's part of a weighted mean over the global batch."""
    weight = replicas.all_sum(tf.reduce_sum(losses.weight))
    weighted = tf.reduce_sum(losses.loss * losses.weight)
    return tf.math.divide_no_nan(weighted, weight)


def _counter(name):
    return keras.Variable(
        0,
        dtype="int64",
        trainable=False,
        aggregation=_SAME_EVERYWHERE,
        name=name,
    )


def _config(config_class, config, knobs):
    if config is not None and knobs:
        raise TypeError(
            "give either config or knobs. Received: a config and "
            f"{', '.join(knobs)}."
        )
    if config is not None:
        return config
    known = {field.name for field in dataclasses.fields(config_class)}
    unknown = sorted(set(knobs) - known)
    if unknown:
        raise ValueError(
            f"unknown: {', '.join(unknown)}. {config_class.__name__} has "
            f"{', '.join(sorted(known))}."
        )
    if isinstance(knobs.get("num_clusters"), int):
        knobs["num_clusters"] = (knobs["num_clusters"],)
    return config_class(**knobs)
